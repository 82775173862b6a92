/* SPDX-License-Identifier: MIT
 * The program penumbra-oci. */
#include "container/container.h"

int main(int argc, char **argv)
{
	return container_main(argc, argv);
}
