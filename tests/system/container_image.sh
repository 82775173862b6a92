#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Images as archives: layouts and tar files of every kind are started hardened, layers are shared by digest, and
# hostile archives end with one clear line and leave nothing outside the store.
# TIMEOUT: 120
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
store=$tmp/store
hard() { run_oci hardened-run --store "$store" --name "$id" "$@" </dev/null; }
load() { "$oci" load --store "$store" "$@" 2>&1; }
sha() { sha256sum | cut -c1-64; }
blob() { # file: into the layout $layout; prints its digest
	local d; d=$(sha <"$1"); mkdir -p "$layout/blobs/sha256"; cp "$1" "$layout/blobs/sha256/$d"; echo "sha256:$d"
}
# One image of a layout: make_image NAME CONFIG-JSON PACKER LAYER.tar...
make_image() {
	local name=$1 config=$2 packer=$3 f layers='[]' diffs='[]' c m
	shift 3
	for f; do
		$packer <"$f" >"$tmp/packed"
		layers=$(jq -c --arg d "$(blob "$tmp/packed")" '. + [{mediaType:"application/vnd.oci.image.layer.v1.tar+any",digest:$d,size:1}]' <<<"$layers")
		diffs=$(jq -c --arg d "sha256:$(sha <"$f")" '. + [$d]' <<<"$diffs")
	done
	jq -c --arg a "${processor:-amd64}" --argjson c "$config" --argjson d "$diffs" -n '{os:"linux",architecture:$a,config:$c,rootfs:{type:"layers",diff_ids:$d}}' >"$tmp/c.json"
	c=$(blob "$tmp/c.json")
	jq -c --arg c "$c" --argjson l "$layers" -n '{schemaVersion:2,config:{digest:$c},layers:$l}' >"$tmp/m.json"
	m=$(blob "$tmp/m.json")
	[ -e "$layout/index.json" ] || { echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"; echo '{"manifests":[]}' >"$layout/index.json"; }
	jq -c --arg m "$m" --arg n "$name" '.manifests += [{mediaType:"application/vnd.oci.image.manifest.v1+json",digest:$m,annotations:{"org.opencontainers.image.ref.name":$n}}]' \
		"$layout/index.json" >"$tmp/i.json" && mv "$tmp/i.json" "$layout/index.json"
}
fresh() { layout=$tmp/$1; rm -rf "$layout"; mkdir -p "$layout"; }

# --- a base and a layer on top of it
make_root "$tmp/root"
echo 'app:x:1000:1001:a:/:/bin/sh' >>"$tmp/root/etc/passwd"; echo 'extra:x:77:app' >>"$tmp/root/etc/group"
mkdir -p "$tmp/root/usr/lib" "$tmp/root/old" "$tmp/root/gone"
ln -s usr/lib "$tmp/root/lib"; echo low >"$tmp/root/usr/lib/low"; echo a >"$tmp/root/old/a"; echo b >"$tmp/root/gone/b"
echo first >"$tmp/root/file"; chmod 700 "$tmp/root/old"; long=$(printf 'n%.0s' {1..180}); echo long >"$tmp/root/$long"
setfattr -n user.note -v kept "$tmp/root/file" 2>/dev/null
tar --xattrs --numeric-owner --format=pax -C "$tmp/root" -cf "$tmp/base.tar" .
mkdir -p "$tmp/up/old" "$tmp/up/lib" "$tmp/up/data"
: >"$tmp/up/.wh.gone"; : >"$tmp/up/old/.wh..wh..opq"; echo new >"$tmp/up/old/n"; echo high >"$tmp/up/lib/high"
echo second >"$tmp/up/file"; echo x >"$tmp/up/data/a"; ln "$tmp/up/data/a" "$tmp/up/data/b"; chown 1000:1001 "$tmp/up/data/a"
(cd "$tmp/up" && tar --numeric-owner --format=gnu -cf "$tmp/up.tar" .wh.gone old/.wh..wh..opq old/n lib/high file data)

fresh layout
config='{"Entrypoint":["/bin/echo","hello"],"Cmd":["world"],"Env":["FOO=bar"],"User":"app","WorkingDir":"/work/here"}'
make_image web:1 "$config" "gzip -n" "$tmp/base.tar"
same "$(load "$layout" | tail -1)" "1 layers, 1 of them new" "a layout is loaded"
same "$(hard "$layout")" "hello world" "entrypoint and command are the image's"
same "$(hard "$layout" there)" "hello there" "a command goes to the entrypoint"
same "$(hard --entrypoint /bin/sh "$layout" -c 'echo $FOO; pwd; id -u; id -g; id -G' | tr '\n' ' ')" "bar /work/here 1000 1001 1001 77 " "environment, directory, user and groups are the image's"
same "$(hard --user 0 --entrypoint /bin/sh "$layout" -c 'id -u; id -g' | tr '\n' ' ')" "0 0 " "--user wins over the image's"

make_image web:2 "$config" "zstd -q" "$tmp/base.tar" "$tmp/up.tar"
has "$(load "$layout")" "has 2 images; name one" "two images in a layout: which one must be said"
same "$(load "$layout:web:2" | tail -1)" "2 layers, 1 of them new" "the layer that is there is not unpacked again, whatever packs it"
look='cat /file /usr/lib/high /usr/lib/low; ls -a /old | tr "\n" " "; ls -d /gone 2>&1; stat -c %a,%u,%h /old /data/a; cat /data/b'
same "$(hard --user 0 --entrypoint /bin/sh "$layout:web:2" -c "$look" | tr '\n' ' ')" "second high low . .. n ls: /gone: No such file or directory 700,0,2 644,1000,4 x " \
	"whiteout, opaque directory, directory passed through, link of a layer below, hard links"
same "$(hard --user 0 --entrypoint /bin/cat "$layout:web:1" /file)" first "the image below is as it was"
hard --entrypoint /bin/cat "$layout:web:1" "/$long" 2>/dev/null | grep -q long; result $? "a name beyond 100 bytes"
note=$(getfattr --only-values -n user.note "$store"/trees/*/file 2>/dev/null); [ -z "$(getfattr -n user.note "$tmp/root/file" 2>/dev/null)" ] || same "$note" kept "an extended attribute"
same "$(hard web:2 stored)" "hello stored" "an image is found in the store by its name"
same "$("$oci" images --store "$store" | grep -c 'web:')" 2 "images lists them"

# --- the same image in archives
tar -C "$layout" -cf "$tmp/oci.tar" .; gzip -k "$tmp/oci.tar"; zstd -q "$tmp/oci.tar"
for a in oci.tar oci.tar.gz oci.tar.zst; do same "$(hard "oci-archive:$tmp/$a:web:2" "$a")" "hello $a" "an OCI archive, $a"; done
mkdir -p "$tmp/docker/one" "$tmp/docker/two"
cp "$tmp/base.tar" "$tmp/docker/one/layer.tar"; cp "$tmp/up.tar" "$tmp/docker/two/layer.tar"; ln -s ../one/layer.tar "$tmp/docker/two/base.tar"
jq -c --arg a "sha256:$(sha <"$tmp/base.tar")" --arg b "sha256:$(sha <"$tmp/up.tar")" -n '{os:"linux",architecture:"amd64",config:{Cmd:["/bin/cat","/file"]},rootfs:{diff_ids:[$a,$b]}}' >"$tmp/c.json"
mv "$tmp/c.json" "$tmp/docker/$(sha <"$tmp/c.json").json"
docker_archive() { # layers as JSON, then tar's options
	(cd "$tmp/docker" && jq -c --arg c "$(ls *.json | grep -v manifest)" --argjson l "$1" -n '[{Config:$c,RepoTags:["docker.io/web:3"],Layers:$l}]' >manifest.json && tar -cf "$tmp/docker.tar" .)
}
docker_archive '["two/base.tar","two/layer.tar"]'
same "$(hard "$tmp/docker.tar:web:3")" second "a docker archive, one layer through a link"
same "$(load "$tmp/docker.tar" | tail -1)" "2 layers, 0 of them new" "its layers are those of the other archives"
docker_archive '["two/layer.tar","two/base.tar"]'
rm -rf "$tmp/store2"; has "$("$oci" load --store "$tmp/store2" "$tmp/docker.tar" 2>&1)" "layer 0: its unpacked digest is sha256:" "layers that are swapped"
same "$(find "$tmp/store2" -mindepth 2 | wc -l)" 0 "and nothing of them stays"

# --- writable roots are private and go with the container
same "$(hard --user 0 --writable-root --entrypoint /bin/sh web:2 -c 'echo changed >/file; cat /file')" changed "--writable-root"
same "$(hard --user 0 --entrypoint /bin/cat web:2 /file)" second "the stored image is as it was"
run_oci hardened-run --store "$store" --name "$id" --writable-root --detach --entrypoint /bin/sleep web:2 1000 </dev/null >/dev/null 2>"$tmp/err"
same "$(ls "$store/copies")" "$id" "a detached container keeps its root"
run_oci delete -f "$id"; same "$(ls "$store/copies")" "" "which is deleted with it"
run_oci hardened-run --store "$store" --name "$id" --detach --entrypoint /bin/sleep web:1 1000 </dev/null >/dev/null 2>&1
has "$(run_oci prune --store "$store" web:1 2>&1)" "a container uses it" "an image in use is not removed"
same "$(run_oci prune --store "$store")" "2 images removed" "prune removes the others"
same "$(run_oci exec "$id" /bin/cat /file)" first "the running container goes on"
run_oci delete -f "$id"; run_oci prune --store "$store" >/dev/null
same "$(ls "$store"/{layers,trees,images,copies,tmp} | grep -c '^[0-9a-z]\{10\}')" 0 "nothing is left in the store"

# --- hostile layers: every one must be refused, and the canary next to the store must stay as it is
echo canary >"$tmp/canary"
bad() { # name pattern layer.tar...
	local name=$1 pattern=$2 out
	shift 2
	fresh evil; make_image evil:1 '{"Cmd":["/bin/true"]}' cat "$@"
	out=$(timeout 20 "$oci" load --store "$tmp/evilstore" --image-size 64M "$layout" 2>&1)
	has "$? $(wc -l <<<"$out") $out" "^1 1 .*$pattern" "refused: $name"
}
mk() { rm -rf "$tmp/w"; mkdir "$tmp/w"; (cd "$tmp/w" && eval "$1"); }
mk 'echo x >f; tar -Pcf ../t.tar --transform="s,^f,../../../../canary," f'; bad "a path that climbs" 'climbs with' "$tmp/t.tar"
mk "ln -s $tmp d; tar -cf ../t.tar d; rm d; mkdir d; echo x >d/canary; tar -rf ../t.tar d/canary"; bad "a path through a link of the layer" 'goes through a symbolic link' "$tmp/t.tar"
mk "ln -s ../../../.. d; tar -cf ../t.tar d; rm d; mkdir d; echo x >d/canary; tar -rf ../t.tar d/canary"; bad "a relative one" 'goes through a symbolic link' "$tmp/t.tar"
mk "echo x >a; ln a b; tar -Pcf ../t.tar --transform='flags=h;s,^a,../../../../canary,' a b"; bad "a hard link that climbs" 'climbs with' "$tmp/t.tar"
mk "ln -s $tmp d; echo x >a; ln a b; tar -cf ../t.tar d; tar -Pcf ../u.tar --transform='flags=h;s,^a,d/canary,' a b; tar -Af ../t.tar ../u.tar"; bad "a hard link through a link" 'goes through a symbolic link' "$tmp/t.tar"
mk "echo x >a; ln a b; tar -Pcf ../t.tar --transform='flags=h;s,^a,missing,' a b"; bad "a hard link to nothing" 'hard link to missing' "$tmp/t.tar"
mk 'touch .wh...; tar -cf ../t.tar .wh...'; bad "a whiteout of .." 'whiteout of nothing' "$tmp/t.tar"
mk 'echo x >f; mkdir d; tar -cf ../t.tar f; tar -Pcf ../u.tar --transform="s,^d,f/g," d; tar -Af ../t.tar ../u.tar'; bad "a path through a file" 'no directory' "$tmp/t.tar"
mk "p=\$(printf 'd/%.0s' {1..300}); mkdir -p \$p; tar -cf ../t.tar d"; bad "too many directories" 'too many directories' "$tmp/t.tar"
mk 'truncate -s 100M f; tar -cf ../t.tar f'; bad "more than --image-size" 'unpacks to more than 67108864' "$tmp/t.tar"
mk 'truncate -s 10M f; tar -Scf ../t.tar f'; bad "a sparse file" "unknown type|sparse" "$tmp/t.tar"
head -c 100000 /dev/urandom >"$tmp/t.tar"; bad "noise" 'is this a tar archive' "$tmp/t.tar"
head -c 3000 "$tmp/base.tar" >"$tmp/t.tar"; bad "half a tar" 'ends in the middle' "$tmp/t.tar"
same "$(cat "$tmp/canary")" canary "nothing was written outside"
same "$(find "$tmp/evilstore"/{images,trees,tmp} -mindepth 1 | wc -l)" 0 "nothing of the refused images stays"
# a link in the image that leads out is the image's own matter; it must only not lead us out
mk "ln -s $tmp d; tar -cf ../t.tar d; rm d; mkdir d; echo x >d/canary; tar -cf ../u.tar d/canary"; fresh evil; make_image evil:1 '{"Cmd":["/x"],"WorkingDir":"/d/w"}' cat "$tmp/t.tar" "$tmp/u.tar"
"$oci" load --store "$tmp/evilstore" "$layout" >"$tmp/out" 2>&1; same "$(cat "$tmp/canary") $(ls -d "$tmp/w/canary" 2>&1 | wc -l)" "canary 1" "a layer below with a link out"
mk 'mknod n c 1 3; echo x >f; tar -cf ../t.tar n f'; fresh evil; make_image evil:1 '{}' cat "$tmp/t.tar"
has "$("$oci" load --store "$tmp/evilstore" "$layout")" "1 device nodes left out" "device nodes are left out, and it says so"

# --- hostile layouts
wrong() { # name pattern; the layout is $layout
	local out; out=$(timeout 20 "$oci" load --store "$tmp/evilstore" "$layout" 2>&1)
	has "$? $(wc -l <<<"$out") $out" "^1 1 .*$2" "refused: $1"
}
again() { fresh evil; make_image evil:1 '{"Cmd":["/bin/true"],"User":"root"}' "gzip -n" "$tmp/up.tar"; }
member() { jq -r "$1" "$layout/index.json" | cut -d: -f2; }
again; m=$(member '.manifests[0].digest'); echo ' ' >>"$layout/blobs/sha256/$m"; wrong "a manifest of another digest" 'its digest is sha256:'
again; m=$(member '.manifests[0].digest'); l=$(jq -r '.layers[0].digest' "$layout/blobs/sha256/$m" | cut -d: -f2)
printf x >>"$layout/blobs/sha256/$l"; wrong "a layer with more behind it" 'middle of packed data'
again; truncate -s -20 "$layout/blobs/sha256/$l"; wrong "a layer cut short" 'middle of packed data'
again; rm "$layout/blobs/sha256/$l"; wrong "a layer that is missing" 'layer 0: is missing'
again; rm "$layout/blobs/sha256/$l"; ln -s "$tmp/base.tar" "$layout/blobs/sha256/$l"; wrong "a layer that is a link" 'layer 0: open'
again; rm "$layout/blobs/sha256/$l"; mkfifo "$layout/blobs/sha256/$l"; wrong "a layer that is a pipe" 'layer 0: open'
again; cp "$layout/blobs/sha256/$l" "$tmp/l"; gzip -dc "$tmp/l" | gzip -1 >"$layout/blobs/sha256/$l"; wrong "a layer packed otherwise than its digest says" 'layer 0: its digest is'
again; sed -i 's/sha256:/sha512:/' "$layout/index.json"; wrong "another algorithm" 'no sha256 digest'
again; echo '{"manifests":[{' >"$layout/index.json"; wrong "broken JSON" 'index.json: is not the JSON'
again; jq -c '.manifests[0].digest="sha256:../../../../etc/passwd"' "$layout/index.json" >"$tmp/i" && mv "$tmp/i" "$layout/index.json"; wrong "a digest that is a path" 'no sha256 digest'
again; jq -c '.manifests[0].platform={os:"linux",architecture:"arm64"}' "$layout/index.json" >"$tmp/i" && mv "$tmp/i" "$layout/index.json"; wrong "another processor" 'has no image for linux on amd64'
fresh evil; processor=arm64 make_image evil:1 '{"Cmd":["/bin/true"]}' cat "$tmp/up.tar"; wrong "a configuration for another processor" 'is for linux on arm64'
fresh evil; make_image evil:1 '{"User":"nobody-here"}' cat "$tmp/up.tar"; wrong "a user that the image lacks" 'config.User: the image has no user'
fresh evil; make_image evil:1 '{"Cmd":[1]}' cat "$tmp/up.tar"; wrong "a command that is no string" 'config.Cmd\[0\]: must be a string'
fresh evil; make_image evil:1 '{"WorkingDir":"here"}' cat "$tmp/up.tar"; wrong "a relative directory" 'WorkingDir: .* is not absolute'
layout=$tmp/base.tar; wrong "a tar that is no image" 'neither index.json nor manifest.json'
layout=/bin/busybox; wrong "a program" 'is this a tar archive'
has "$("$oci" load --store "$tmp/evilstore" nothing:1 2>&1)" "no such file" "an image that is nowhere"
chmod 755 "$tmp/evilstore"; has "$("$oci" load --store "$tmp/evilstore" "$tmp/oci.tar:web:1" 2>&1)" "must be yours alone" "a store that others may enter"

# --- without root: in a user namespace of one id, the process being whom the image says
if command -v setpriv >/dev/null; then
	mkdir "$tmp/mine"; chown 1234:1234 "$tmp/mine"; chmod 755 "$tmp"; chmod 644 "$tmp/oci.tar"; cp "$oci" "$tmp/penumbra-oci"
	as() { setpriv --reuid 1234 --regid 1234 --clear-groups env HOME="$tmp/mine" XDG_RUNTIME_DIR="$tmp/mine" "$@" </dev/null; }
	same "$(as "$tmp/penumbra-oci" hardened-run --entrypoint /bin/sh "$tmp/oci.tar:web:2" -c 'id -u; cat /file /old/n' 2>"$tmp/err" | tr '\n' ' ')" "1000 second new " "a user's own store and container"; sed 's/^/# /' "$tmp/err"
fi
same "$(leftovers "$id")" "" "nothing is left behind"
