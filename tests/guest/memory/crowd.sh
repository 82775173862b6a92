#!/bin/sh
# SPDX-License-Identifier: MIT
# A crowd of processes comes and goes; what it has cost the host is looked at from outside meanwhile.
i=0
while [ $i -lt 60 ]; do
	sleep 4 &
	i=$((i + 1))
done
echo "crowd there"
wait
echo "crowd gone"
read -r line
echo "crowd over"
