/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host with disks and sticks that change places, and two guests: what
 * hostdev-random.c moves, and hostdev-world.c shows to the library.
 */
#ifndef TEST_HOSTDEV_WORLD_H
#define TEST_HOSTDEV_WORLD_H

#include "scsi/scsi.h"
#include "unit.h"
#include "usb/usb.h"

#define DISKS 10
#define STICKS 6
#define SLOTS 4                     /* vdevs, and ports, of a guest */
#define DOMIDS 32
#define NOBODY (-1)

struct disk {
    const char *wwid, *serial, *model;
    int gib;
    int host;                       /* H of its address, 0: pulled out */
    bool offline;
};
struct stick {
    const char *vendor, *product, *serial;
    int port;                       /* of bus 1, 0: pulled out */
    int address;
};
struct guest {
    xlx_guest id;
    int disk[SLOTS], stick[SLOTS];  /* what it was given, or NOBODY */
};

extern char *root;
extern uint64_t seed;
extern struct disk disks[DISKS];
extern struct stick sticks[STICKS];
extern int next_address;
extern struct guest guests[2];
extern int runs_in[DOMIDS];         /* which guest, or NOBODY */
extern int lun[DOMIDS][SLOTS];      /* the disk that a domain has */
extern int port[DOMIDS][SLOTS + 1]; /* the socket of the stick */
extern int made[2][SLOTS];          /* the disk behind a target */
extern int current;                 /* the guest that is worked on */
extern int giving;                  /* what the user asks for, or NOBODY */
extern int boot;

void __attribute__((noreturn, format(printf, 1, 2)))
wrong(const char *fmt, ...);
void remove_below(const char *name);
/* All devices as they are in the factory. */
void new_devices(void);
/* Puts them into sysfs. */
void show_host(void);
int disk_at(const char *hctl);
int stick_at(const char *path);
uint32_t domid_of(int g);

#endif
