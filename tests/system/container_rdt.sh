#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# linux.intelRdt on a tree of plain files in the place of the resource control file system: groups that are there are
# joined and compared, never removed; what is missing is an error.
# TIMEOUT: 60
set -u
if [ -z "${RDT_INSIDE:-}" ]; then
	RDT_INSIDE=1 exec unshare -m --propagation private bash "$0"
fi
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle
try() { # filter
	make_bundle "$b" ".process.args=[\"/bin/true\"] | .linux.intelRdt=$1"
	run_oci run --bundle "$b" "$id" 2>&1 </dev/null
	echo "status $?"
}
has "$(try '{closID:"gold"}')" "no resource control file system" "a host without it"
mkdir "$tmp/cg" && mount --rbind /sys/fs/cgroup "$tmp/cg" && mount -t tmpfs tmpfs /sys/fs && mkdir -p /sys/fs/cgroup /sys/fs/resctrl &&
	mount --rbind "$tmp/cg" /sys/fs/cgroup
result $? "a tree in its place"
cd "$tmp" || exit 1; cd - >/dev/null || exit 1
r=/sys/fs/resctrl
mkdir -p $r/gold/mon_groups/"$id" $r/mon_groups/"$id"
printf '    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n' >$r/schemata
printf '    L3:0=000ff;1=0000f\n    MB:0= 50;1= 70\n' >$r/gold/schemata
: >$r/gold/tasks; : >$r/gold/mon_groups/"$id"/tasks; : >$r/mon_groups/"$id"/tasks
same "$(try '{closID:"gold"}')" "status 0" "a group that is there is joined"
has "$(cat $r/gold/tasks)" "^[0-9]+$" "the process is in it"
same "$(try '{closID:"gold",l3CacheSchema:"L3:0=ff;1=f",memBwSchema:"MB:1=70"}')" "status 0" "the same schemata in another form"
has "$(try '{closID:"gold",l3CacheSchema:"L3:0=ff;1=ff"}')" "does not have.*L3:0=ff;1=ff" "other schemata are an error"
has "$(try '{closID:"gold",schemata:["L2:0=1"]}')" "does not have" "a resource that it lacks"
has "$(try '{closID:"gold",memBwSchema:"MB:2=70"}')" "does not have" "a domain that it lacks"
has "$(try '{closID:"silver"}')" "closID: group silver: No such file" "a group that is not there, without schemata"
same "$(try '{closID:"gold",enableCMT:true}') $(grep -c . $r/gold/mon_groups/"$id"/tasks)" "status 0 1" "monitoring in the group"
same "$(try '{enableMBM:true}') $(grep -c . $r/mon_groups/"$id"/tasks)" "status 0 1" "monitoring alone, in the default group"
[ -d $r/gold/mon_groups/"$id" ]; result $? "what was there stays"
has "$(try '{closID:"../x"}')" "closID" "a name that climbs"
umount -l /sys/fs/cgroup /sys/fs; umount -l "$tmp/cg"
same "$(leftovers "$id")" "" "nothing is left behind"
