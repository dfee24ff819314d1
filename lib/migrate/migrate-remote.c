/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks on the other host.  A shell there makes them, serves them with
 * qemu-nbd at sockets in a directory of its own, and removes all of it when
 * its input ends, however this process ends; until it is told to keep them.
 * It needs sh, coreutils, util-linux, qemu-utils and xl.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/image.h"
#include "migrate/migrate.h"

#define OPEN_MS 120000              /* somebody types a password */
#define CALL_MS 60000
#define CLOSE_MS 600000             /* all of a disk's data is flushed */
#define END_MS 10000

/* The last line of what a function says is the message of its failure. */
static const char functions[] =
"umask 077; LC_ALL=C; export LC_ALL; exec 2>&1; keep=; pids=; d=\n"
"need() {\n"
"  for n in \"$@\"; do command -v \"$n\" > /dev/null || {\n"
"    echo \"there is no $n: install Xen's tools and qemu-utils\"\n"
"    return 1; }; done\n"
"}\n"
/* remove ID PATH: the file, if it is that one; without an ID an empty one */
"remove() {\n"
"  [ -e \"$2\" ] || [ -L \"$2\" ] || return 0\n"
"  [ -f \"$2\" ] || { echo \"$2 is another file now: it stays\"; return 1; }\n"
"  if [ \"$1\" ]; then\n"
"    [ \"$(stat -c %i:%W \"$2\")\" = \"$1\" ] || {\n"
"      echo \"$2 is another file now: it stays\"; return 1; }\n"
"  elif [ -s \"$2\" ]; then\n"
"    echo \"$2 is not the file that was made: it stays\"; return 1\n"
"  fi\n"
"  rm -f \"$2\"\n"
"}\n"
"undo() {\n"
"  trap - EXIT; trap '' HUP INT TERM PIPE\n"
"  for p in $pids; do kill \"$p\"; done; wait\n"
"  [ \"$keep\" ] || [ ! -e \"$d/made\" ] ||\n"
"    while read -r id path; do\n"
"      remove \"$id\" \"$path\"; done < \"$d/made\"\n"
"  rm -rf \"$d\"\n"
"}\n"
"begin() {\n"
"  need qemu-img qemu-nbd xl || return 1\n"
"  mkdir \"$1\" || return 1\n"
"  d=$1; trap 'undo > /dev/null 2>&1' EXIT; trap 'exit 1' HUP INT TERM PIPE\n"
"}\n"
/* device SIZE PATH: may it be written to? */
"device() {\n"
"  n=$(blockdev --getsize64 \"$2\") || return 1\n"
"  [ \"$n\" = \"$1\" ] || {\n"
"    echo \"$2 has $n bytes, and the disk has $1: both must have the same\"\n"
"    return 1; }\n"
"  t=$(stat -L -c %t:%T \"$2\")\n"
"  m=$(printf %d:%d \"0x${t%:*}\" \"0x${t#*:}\")\n"
"  for f in \"/sys/dev/block/$m\" \"/sys/dev/block/$m\"/*/partition; do\n"
"    [ -e \"$f\" ] || continue\n"
"    f=${f%/partition}; p=$(cat \"$f/dev\")\n"
"    if [ \"$(ls -A \"$f/holders\" 2> /dev/null)\" ] ||\n"
"      cut -d' ' -f3 /proc/self/mountinfo | grep -qx \"$p\"; then\n"
"      echo \"$2 is mounted, or part of a volume group, an array or a map\"\n"
"      return 1\n"
"    fi\n"
"  done\n"
"  tail -n +2 /proc/swaps | while read -r s rest; do\n"
"    [ ! \"$s\" -ef \"$2\" ] || exit 1; done || {\n"
"      echo \"$2 is swap space\"; return 1; }\n"
"  if command -v xenstore-ls > /dev/null &&\n"
"    xenstore-ls -f /local/domain/0/backend 2> /dev/null |\n"
"    grep -qixF -e \"physical-device = \\\"$t\\\"\"; then\n"
"    echo \"$2 is the disk of a guest\"; return 1\n"
"  fi\n"
"  if command -v fuser > /dev/null && fuser -s \"$2\" 2> /dev/null; then\n"
"    echo \"$2 is open in a program\"; return 1\n"
"  fi\n"
"}\n"
/* place DIRECTORY: nobody else can put a file in the place of ours; in a
 * sticky directory the owner of the file can, so that only those above may be
 * sticky */
"place() {\n"
"  p=$(cd \"$1\" && pwd -P) || return 1; k=0\n"
"  while :; do\n"
"    s=$(stat -c '%u %a' \"$p/\") || return 1\n"
"    a=$((0${s#* })); s=${s% *}\n"
"    if [ \"$s\" != 0 ] && [ \"$s\" != \"$(id -u)\" ] ||\n"
"      [ $((a & 022)) != 0 ] && [ $((a & k)) = 0 ]; then\n"
"      echo \"$p: others than root can replace files there\"; return 1\n"
"    fi\n"
"    [ \"$p\" != / ] || return 0\n"
"    p=${p%/*}; p=${p:-/}; k=01000\n"
"  done\n"
"}\n"
/* make FORMAT SIZE OWNER MODE NEEDED PATH: says which file it made */
"make() {\n"
"  dir=${6%/*}/\n"
"  [ -d \"$dir\" ] || { echo \"there is no directory $dir\"; return 1; }\n"
"  if [ -b \"$6\" ]; then\n"
"    [ \"$1\" = raw ] || {\n"
"      echo \"$6 is a block device: it takes raw, and the disk is $1\"\n"
"      return 1; }\n"
"    device \"$2\" \"$6\" || return 1; echo device; return 0\n"
"  fi\n"
"  if [ -e \"$6\" ] || [ -L \"$6\" ]; then\n"
"    echo \"$6 is there already, and is not overwritten\"; return 1\n"
"  fi\n"
"  place \"$dir\" || return 1\n"
"  n=$(stat -f -c '%a * %S' \"$dir\") || return 1\n"
"  n=$(($n))\n"
"  [ \"$n\" -ge \"$5\" ] || {\n"
"    echo \"$dir: $((n >> 20)) MiB are free, and the image holds\" \\\n"
"      \"$(($5 >> 20))\"; return 1; }\n"
"  (set -C; : > \"$6\") || return 1\n"
"  id=$(stat -c %i:%W \"$6\")\n"
"  printf '%s %s\\n' \"$id\" \"$6\" >> \"$d/made\"\n"
"  qemu-img create -q -f \"$1\" \"$6\" \"$2\" || return 1\n"
"  [ \"$(stat -c %u:%g \"$6\")\" = \"$3\" ] || chown \"$3\" \"$6\" ||\n"
"    return 1\n"
"  chmod \"$4\" \"$6\" && echo \"file $id\"\n"
"}\n"
/* serve VDEV FORMAT PATH */
"serve() {\n"
"  qemu-nbd -t -e 4 -f \"$2\" -x \"$1\" -k \"$d/$1\" --cache=writeback \\\n"
"    --discard=unmap --detect-zeroes=unmap \"$3\" < /dev/null \\\n"
"    > \"$d/$1.log\" 2>&1 &\n"
"  p=$!; pids=\"$pids $p\"; echo $p > \"$d/$1.pid\"; i=0\n"
"  until [ -S \"$d/$1\" ]; do\n"
"    if ! kill -0 $p 2> /dev/null || [ $i -ge 200 ]; then\n"
"      echo 'qemu-nbd does not start'; cat \"$d/$1.log\"; return 1\n"
"    fi\n"
"    i=$((i + 1)); sleep 0.05\n"
"  done\n"
"}\n"
/* shared PATH: a disk that is not copied */
"shared() {\n"
"  [ -e \"$1\" ] || {\n"
"    echo \"there is no $1, the disk that is not copied\"; return 1; }\n"
"}\n"
/* finish PATH...: ends the servers, and all is on disk */
"finish() {\n"
"  for p in $pids; do\n"
"    kill \"$p\" && wait \"$p\" || { echo 'qemu-nbd has failed'; return 1; }\n"
"  done\n"
"  pids=; sync \"$@\"\n"
"}\n"
/* leftover DIRECTORY: ends the servers of a shell that was killed */
"leftover() {\n"
"  for f in \"$1\"/*.pid; do\n"
"    [ -e \"$f\" ] || continue\n"
"    p=$(cat \"$f\")\n"
"    [ \"$(cat \"/proc/$p/comm\" 2> /dev/null)\" != qemu-nbd ] ||\n"
"      kill \"$p\"\n"
"  done\n"
"  rm -rf \"$1\"\n"
"}\n";

/* ---- calls -------------------------------------------------------------- */

/* NAME 'WORD'...; words ends with NULL. */
static int call(struct xlx__migrate *m, int ms, const char *name,
                const char *const *words, char **output_r)
{
    char *line = xlx__printf("%s", name), *quoted, *longer;
    int rc;

    for (; line && *words; words++) {
        quoted = xlx__shell_quote(*words);
        longer = quoted ? xlx__printf("%s %s", line, quoted) : NULL;
        free(quoted);
        free(line);
        line = longer;
    }
    if (!line)
        return xlx__nomem();
    rc = xlx__shell_call(&m->agent, xlx__now_ms() + ms, NULL, line,
                         output_r);
    free(line);
    return rc;
}

/* -L HERE:THERE for each disk. */
static int forward(struct xlx__migrate *m, const char **options, int *num,
                   int max, char **texts)
{
    const xlx_disk_migration_disk *d;
    int i;

    for (i = 0; i < m->record.num_disks && *num + 2 < max; i++) {
        d = &m->record.disks[i];
        texts[i] = xlx__printf("%s:%s/%s", d->socket, m->record.directory,
                               d->vdev);
        if (!texts[i])
            return xlx__nomem();
        options[(*num)++] = "-L";
        options[(*num)++] = texts[i];
    }
    options[*num] = NULL;
    return i < m->record.num_disks
        ? xlx__error(ERROR_INVAL, "more than %d disks", i) : 0;
}

#define MAX_OPTIONS 56

int xlx__remote_open(struct xlx__migrate *m, bool repair)
{
    const char *options[MAX_OPTIONS] = {
        "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4",
        "-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes",
        NULL,
    };
    const char *words[] = { m->record.directory, NULL };
    const xlx_disk_migration *r = &m->record;
    char *texts[MAX_OPTIONS] = { NULL };
    int i, num = 8, rc = 0;

    if (repair) {                   /* nobody is there to type a password */
        options[num++] = "-o";
        options[num++] = "BatchMode=yes";
        options[num] = NULL;
    } else {
        rc = forward(m, options, &num, MAX_OPTIONS, texts);
    }
    if (!rc)
        rc = xlx__shell_run(r->command, options, r->host, "exec sh",
                            &m->agent);
    for (i = 0; i < MAX_OPTIONS; i++)
        free(texts[i]);
    if (rc) return rc;
    rc = xlx__shell_call(&m->agent, xlx__now_ms() + OPEN_MS, m->progress,
                         functions, NULL);
    if (rc || repair)
        return rc;
    m->touched = true;
    return call(m, CALL_MS, "begin", words, NULL);
}

static int make_one(struct xlx__migrate *m, xlx_disk_migration_disk *d)
{
    char size[24], owner[48], mode[8], needed[24], *said = NULL, *p;
    const char *words[] = {
        d->format, size, owner, mode, needed, d->target, NULL,
    };
    struct stat st;
    int rc;

    if (stat(d->image, &st))
        return xlx__error(ERROR_FAIL, "%s: %m", d->image);
    snprintf(size, sizeof(size), "%"PRIu64, d->size);
    snprintf(owner, sizeof(owner), "%lu:%lu", (unsigned long)st.st_uid,
             (unsigned long)st.st_gid);
    snprintf(mode, sizeof(mode), "%o",
             S_ISREG(st.st_mode) ? st.st_mode & 0666u : 0600u);
    snprintf(needed, sizeof(needed), "%"PRIu64, S_ISREG(st.st_mode)
             ? (uint64_t)st.st_blocks * 512 : 0);
    rc = call(m, CALL_MS, "make", words, &said);
    if (rc)
        return xlx__error_prefix(rc, "%s", d->vdev);
    p = strstr(said, "file ");
    if (p) {
        p[strcspn(p, "\r\n")] = '\0';
        d->made = true;
        rc = xlx__set_string(&d->target_id, p + strlen("file "));
    } else {
        d->made = false;            /* a block device */
    }
    free(said);
    return rc ? rc : xlx__migrate_save(m);
}

int xlx__remote_make(struct xlx__migrate *m)
{
    int i, rc = 0;

    for (i = 0; !rc && i < m->num_shared; i++)
        rc = call(m, CALL_MS, "shared", (const char *[]){
                  m->shared[i], NULL }, NULL);
    for (i = 0; !rc && i < m->record.num_disks; i++)
        rc = make_one(m, &m->record.disks[i]);
    return rc;
}

int xlx__remote_serve(struct xlx__migrate *m)
{
    const xlx_disk_migration_disk *d;
    int i, rc = 0;

    for (i = 0; !rc && i < m->record.num_disks; i++) {
        d = &m->record.disks[i];
        rc = call(m, CALL_MS, "serve", (const char *[]){
                  d->vdev, d->format, d->target, NULL }, NULL);
    }
    return rc;
}

int xlx__remote_close(struct xlx__migrate *m)
{
    const char *targets[MAX_OPTIONS] = { NULL };
    int i;

    for (i = 0; i < m->record.num_disks; i++)
        targets[i] = m->record.disks[i].target;
    return call(m, CLOSE_MS, "finish", targets, NULL);
}

int xlx__remote_keep(struct xlx__migrate *m)
{
    return xlx__shell_call(&m->agent, xlx__now_ms() + CALL_MS, NULL,
                           "keep=1; rm -f \"$d/made\"", NULL);
}

int xlx__remote_remove(struct xlx__migrate *m)
{
    const xlx_disk_migration_disk *d;
    int i, rc;

    rc = call(m, CALL_MS, "leftover", (const char *[]){
              m->record.directory, NULL }, NULL);
    for (i = 0; !rc && i < m->record.num_disks; i++) {
        d = &m->record.disks[i];
        if (d->made)
            rc = call(m, CALL_MS, "remove", (const char *[]){
                      xlx__text(d->target_id), d->target, NULL }, NULL);
    }
    return rc;
}

/* ---- the guest there ---------------------------------------------------- */

/* "UUID DOMID NAME" among what "xl vm-list" says; as xl calls a guest that
 * has left this host, or comes to the other: both may be one host. */
static void find_guest(const char *list, const char *uuid, const char *name,
                       struct xlx__remote_guest *found_r)
{
    const char *line, *p, *end;
    size_t len = strlen(name);

    *found_r = (struct xlx__remote_guest){ .runs = false };
    for (line = list; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        p = line + strspn(line, " ");
        if (strncasecmp(p, uuid, 36) || p[36] != ' ')
            continue;
        p += 36;
        p += strspn(p, " ");
        p += strspn(p, "0123456789");
        p += strspn(p, " ");
        if (strncmp(p, name, len))
            continue;
        p += len;
        if (!strncmp(p, "--incoming", 10) && strchr(" \n", p[10]))
            found_r->arriving = true;
        else if (strchr(" \n", *p))
            found_r->runs = true;
    }
}

int xlx__remote_look(struct xlx__migrate *m,
                     struct xlx__remote_guest *found_r)
{
    char uuid[LIBXL_UUID_FMTLEN + 1], *list = NULL;
    int rc;

    snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(m->guest->uuid));
    rc = xlx__shell_call(&m->agent, xlx__now_ms() + CALL_MS, NULL,
                         "xl vm-list", &list);
    if (!rc)
        find_guest(list, uuid, xlx__text(m->record.guest.name), found_r);
    free(list);
    return rc;
}

int xlx__remote_destroy(struct xlx__migrate *m)
{
    char *name = xlx__printf("%s--incoming",
                             xlx__text(m->record.guest.name));
    int rc;

    if (!name)
        return xlx__nomem();
    rc = call(m, CALL_MS, "xl destroy", (const char *[]){ name, NULL }, NULL);
    free(name);
    return rc;
}
