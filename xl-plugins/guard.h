/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guard of "xl create" and "xl restore": guard.c decides, guard-config.c
 * reads the same configuration as stock xl will.
 */
#ifndef XL_GUARD_H
#define XL_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include <libxl.h>

/* What the guard has to know of the guest that is to run. */
struct guest_config {
    char *name;                     /* or NULL */
    libxl_uuid uuid;
    bool has_uuid;
    libxl_device_disk *disks;
    char **specs;                   /* each disk as it is written in xl.cfg;
                                     * NULL when it came out of JSON */
    int num_disks;
};

/* All fill in an empty config and return false, silently, for what stock xl
 * will refuse; what has been filled in is to be freed all the same. */

/* xl.cfg(5); path may be NULL, and extra are lines that follow, or NULL. */
bool guest_config_from_file(const char *path, const char *extra,
                            struct guest_config *config);
/* What "xl save" put before the memory. */
bool guest_config_from_save(const char *path, struct guest_config *config);
void guest_config_free(struct guest_config *config);

#endif
