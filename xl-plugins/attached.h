/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The steps after an attachment, whether a command or the guard made it: a
 * line for the user, and a watcher that stays with the guest.
 */
#ifndef XL_ATTACHED_H
#define XL_ATTACHED_H

#include "libxlx.h"

/* "Attached PDEV as VDEV", a line for each. */
void xl_say_scsi(const char *done, const xlx_scsi_devs *list);
void xl_say_usb(const char *done, const xlx_usb_entry *e);
/* The same of each device of a tree, and of those that were left out. */
void xl_say_usb_tree(const char *done, const xlx_usb_tree_devices *found);

/* Runs program, which has that command ("STEM-watch"), in the background: the
 * unit of systemd that does so, or where there is no systemd, or it fails, a
 * plain process.  One that is there already makes the new one end at once. */
void xl_run_watcher(const char *program, const char *command,
                    const xlx_guest *guest);

#endif
