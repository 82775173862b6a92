/* SPDX-License-Identifier: MIT
 * The container commands: what the program penumbra-oci is, and `penumbra container` as well. */
#ifndef PENUMBRA_CONTAINER_CONTAINER_H
#define PENUMBRA_CONTAINER_CONTAINER_H

/* argv[0] is the program's or the command's name; returns the exit status: 0, 1 for a failed job, 2
 * for wrong usage, for run and exec the status of the process.  When argv[0] ends in "penumbra-oci"
 * `run` is the drop-in verb of OCI runtimes; else it is the hardened run of an image or bundle, and
 * the drop-in verb is `oci-run`.  Executes a sealed copy of the program before anything else. */
int container_main(int argc, char **argv);

#endif
