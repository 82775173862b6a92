#!/bin/sh
# SPDX-License-Identifier: MIT
# A crowd of processes comes and goes; what it has cost the host is looked at from outside meanwhile.  Each says through
# one pipe that it runs, and waits for what never comes through another.
mkfifo /tmp/here /tmp/never
exec 3<>/tmp/here 4<>/tmp/never
i=0
while [ $i -lt 60 ]; do
	sh -c 'echo >&3; read -r line <&4' &
	crowd="$crowd $!"
	i=$((i + 1))
done
while [ $i -gt 0 ]; do
	read -r line <&3
	i=$((i - 1))
done
echo "crowd there"
read -r line
kill $crowd
wait
echo "crowd gone"
read -r line
echo "crowd over"
