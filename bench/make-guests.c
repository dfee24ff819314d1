/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the records of many guests:
 *   make-guests STATE-DIR IMAGE-DIR GUESTS SNAPSHOTS-OF-EACH
 */
#include <err.h>
#include <stdlib.h>

#include "../tests/unit/guests.h"

int main(int argc, char **argv)
{
    if (argc != 5)
        errx(2, "usage: make-guests STATE-DIR IMAGE-DIR GUESTS "
             "SNAPSHOTS");
    guests_make(argv[1], argv[2], atoi(argv[3]), atoi(argv[4]));
    return 0;
}
