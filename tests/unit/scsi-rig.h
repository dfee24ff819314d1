/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host with a tape and a disk in a sysfs of its own, the kernel's target as
 * fake-configfs.c has it, and a guest, domain 5, with one of them.  The kernel
 * opens a disk exclusively for each backstore that is enabled, as the real one
 * does.
 */
#ifndef TEST_SCSI_RIG_H
#define TEST_SCSI_RIG_H

#include "scsi/scsi.h"
#include "unit.h"

#define WEB "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10"
#define DB "0b8f3a52-6a0e-4a3c-8f1b-0c9f2c7b6d11"
#define TAPE "naa.5000c500a1b2c3d4"
#define DISK "naa.5000c500ffffffff"
#define OURS "target/core/pscsi_7892088/xlx-" WEB "-0.0.0.0"

extern libxl_uuid uuid;
extern struct xlx__scsi_change c;
extern char said[600];

/* Below the directory of this test; good for the next few calls. */
char *path_of(const char *name);
void make(const char *name);
bool there(const char *name);
void put(const char *dir, const char *name, const char *text);
/* Its directory in sysfs; good until the next call. */
char *device_of(const char *address);
void plug_in(const char *address, const char *wwid, bool disk);
/* Its directory is kept, so that no other gets its number. */
void pull_out(const char *address);

/* An entry that was found at the address, with no domain yet. */
void describe(xlx_scsi_entry *e, const libxl_uuid *whose,
                     const char *address);
void make_target(const xlx_scsi_entry *e);
/* The guest has the entry's device, or that at the address. */
xlx_scsi_entry *give(const xlx_scsi_entry *e);
xlx_scsi_entry *give_at(const char *address);

/* What mending reports, "" for nothing. */
const char *mend(bool dry_run);
void says(const char *text, const char *part);
void mends(void);
/* "targetcli .../luns delete 0", and of the backstore as well. */
void delete_lun(const xlx_scsi_entry *e);
void delete_backstore(const xlx_scsi_entry *e);
/* Of the guest's backstore, without the newline. */
char *attribute(const char *name);

int begin(void **state);
int end(void **state);

#endif
