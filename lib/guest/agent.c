/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest agent's dialogue: JSON like the monitor's, without greeting,
 * without ids in its answers, and with a guest at the other end that may be
 * slow, dead or hostile.  guest-sync-delimited replaces ids: a byte 0xff in
 * the stream, which JSON cannot contain, and after it the number that we sent;
 * from there on every answer is to the last question.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/wire.h"
#include "guest/agent.h"
#include "guest/qmp.h"
#include "guest/thaw-guard.h"

#define SYNC_TIMEOUT_MS     3000
#define FREEZE_TIMEOUT_MS   10000
#define THAW_TIMEOUT_MS     10000

#define AGENT_NAME "org.qemu.guest_agent.0"

static const struct xlx__json_limits agent_limits = {
    .bytes = 64 << 10,
    .depth = 16,
};

struct xlx__agent {
    xlx_ctx *ctx;
    char *path;
    struct xlx__wire wire;
    struct xlx__thaw_guard guard;
    int64_t sync_id;
    int64_t frozen;                 /* file systems */
};

/* ---- the dialogue ------------------------------------------------------- */

static int sync_agent(struct xlx__agent *a, int64_t deadline)
{
    struct xlx__json_doc *doc = NULL;
    int64_t id = 0;
    char text[128];
    int rc;

    snprintf(text, sizeof(text), "\xff{\"execute\": \"guest-sync-delimited\", "
             "\"arguments\": {\"id\": %lld}}\n", (long long)++a->sync_id);
    rc = xlx__wire_send(&a->wire, deadline, text, strlen(text));
    if (rc) return rc;

    /* Answers to earlier clients may come first, and what they sent: a
     * guest's terminal echoes it when no agent has opened it yet. */
    do {
        rc = xlx__wire_skip_past(&a->wire, deadline, 0xff);
        if (rc) return rc;
        rc = xlx__wire_receive(&a->wire, deadline, &doc);
        if (rc) return rc;
        rc = xlx__json_member_int64(xlx__json_root(doc), "return", &id);
        xlx__json_free(doc);
    } while (rc || id != a->sync_id);
    xlx__error_clear();
    return 0;
}

/* ERROR_QMP_GENERIC_ERROR, and that alone, when the agent says no. */
static int call_agent(struct xlx__agent *a, int64_t deadline,
                      const char *command, struct xlx__json_doc **doc_r)
{
    struct xlx__json_doc *doc = NULL;
    const struct xlx__json *error;
    const char *desc;
    char text[80];
    int rc;

    xlx__debug(a->ctx, "guest agent: \"%s\": %s", a->path, command);
    snprintf(text, sizeof(text), "{\"execute\": \"%s\"}\n", command);
    rc = xlx__wire_send(&a->wire, deadline, text, strlen(text));
    if (rc) return rc;
    rc = xlx__wire_receive(&a->wire, deadline, &doc);
    if (rc) return rc;

    error = xlx__json_member(xlx__json_root(doc), "error");
    if (!error) {
        *doc_r = doc;
        return 0;
    }
    if (xlx__json_member_string(error, "desc", &desc))
        rc = ERROR_PROTOCOL_ERROR_QMP;
    else
        rc = xlx__error(ERROR_QMP_GENERIC_ERROR, "guest agent: %s: %s",
                        command, desc);
    xlx__json_free(doc);
    return rc;
}

/* A command that returns the number of file systems it concerned. */
static int call_counting(struct xlx__agent *a, int64_t deadline,
                         const char *command, int64_t *count_r)
{
    struct xlx__json_doc *doc = NULL;
    int rc;

    rc = call_agent(a, deadline, command, &doc);
    if (rc) return rc;
    rc = xlx__json_member_int64(xlx__json_root(doc), "return", count_r);
    xlx__json_free(doc);
    return rc ? ERROR_PROTOCOL_ERROR_QMP : 0;
}

static int query_thawed(struct xlx__agent *a, int64_t deadline,
                        bool *thawed_r)
{
    struct xlx__json_doc *doc = NULL;
    const char *status;
    int rc;

    rc = call_agent(a, deadline, "guest-fsfreeze-status", &doc);
    if (rc) return rc;
    rc = xlx__json_member_string(xlx__json_root(doc), "return", &status);
    if (!rc)
        *thawed_r = !strcmp(status, "thawed");
    xlx__json_free(doc);
    return rc ? ERROR_PROTOCOL_ERROR_QMP : 0;
}

/* ---- freeze and thaw ---------------------------------------------------- */

static int connect_agent(struct xlx__agent *a)
{
    xlx__wire_close(&a->wire);
    return xlx__wire_connect(a->path, &agent_limits, &a->wire);
}

/* *lasted_r: the guest had been frozen until now. */
static int thaw_once(struct xlx__agent *a, bool *lasted_r)
{
    int64_t deadline = xlx__now_ms() + THAW_TIMEOUT_MS;
    bool thawed = false;
    int64_t count = 0;
    int rc;

    rc = sync_agent(a, deadline);
    if (rc == ERROR_TIMEDOUT)
        /* It may yet read this, when it has come back to life. */
        xlx__wire_send(&a->wire, xlx__now_ms() + 1000, XLX__GUARD_THAW,
                       strlen(XLX__GUARD_THAW));
    if (rc) return rc;

    rc = call_counting(a, deadline, "guest-fsfreeze-thaw", &count);
    if (!rc) {
        *lasted_r = count > 0 || !a->frozen;
        return 0;
    }
    /* Windows has its own limit, after which thawing is an error. */
    if (rc != ERROR_QMP_GENERIC_ERROR
        || query_thawed(a, deadline, &thawed) || !thawed)
        return rc;
    *lasted_r = false;
    return 0;
}

static int thaw_guest(struct xlx__agent *a, bool *lasted_r)
{
    int rc;

    rc = thaw_once(a, lasted_r);
    if (rc == ERROR_FAIL && !connect_agent(a))      /* was disconnected */
        rc = thaw_once(a, lasted_r);
    if (rc) {
        xlx__thaw_guard_leave(&a->guard);
        return xlx__error_prefix(ERROR_FAIL, "THE GUEST MAY STILL BE FROZEN: "
                                 "its agent could not be made to thaw it; if "
                                 "it hangs, thaw it from inside (fsfreeze -u)"
                                 " or restart it");
    }
    xlx__thaw_guard_dismiss(&a->guard);
    return 0;
}

static void free_agent(struct xlx__agent *a)
{
    if (!a)
        return;
    xlx__thaw_guard_leave(&a->guard);
    xlx__wire_close(&a->wire);
    free(a->path);
    free(a);
}

static int new_agent(xlx_ctx *ctx, const char *path, struct xlx__agent **a_r)
{
    static const struct xlx__agent fresh = {
        .wire = XLX__WIRE_CLOSED,
        .guard = XLX__GUARD_NONE,
    };
    struct xlx__agent *a;
    int rc;

    a = malloc(sizeof(*a));
    if (!a)
        return xlx__error(ERROR_NOMEM, "no memory for a guest agent");
    *a = fresh;
    a->ctx = ctx;
    /* Unlike those of another program's, or of an earlier run of ours. */
    a->sync_id = (xlx__now_ms() ^ ((int64_t)getpid() << 8)) & 0x3fffffff;
    rc = xlx__set_string(&a->path, path);
    if (rc) {
        free_agent(a);
        return rc;
    }
    *a_r = a;
    return 0;
}

/* Whatever went wrong with freezing, the guest must not stay frozen; and what
 * went wrong is what the user must hear, unless thawing fails as well. */
static int undo_freeze(struct xlx__agent *a, int rc)
{
    struct xlx__error_text why;
    bool lasted;

    xlx__error_save(&why);
    if (thaw_guest(a, &lasted))
        return ERROR_FAIL;
    xlx__error_restore(&why);
    return rc;
}

int xlx__agent_freeze(xlx_ctx *ctx, const char *socket,
                      struct xlx__agent **a_r)
{
    struct xlx__agent *a = NULL;
    int rc;

    rc = new_agent(ctx, socket, &a);
    if (rc) return rc;
    rc = connect_agent(a);
    if (rc) goto out;
    rc = sync_agent(a, xlx__now_ms() + SYNC_TIMEOUT_MS);
    if (rc == ERROR_TIMEDOUT)
        rc = xlx__error(ERROR_NOT_READY, "\"%s\": the guest agent does not "
                        "answer: is qemu-ga running in the guest, and is no "
                        "other program connected?", socket);
    if (rc) goto out;

    rc = xlx__thaw_guard_start(a->wire.fd, &a->guard);
    if (rc) goto out;
    rc = call_counting(a, xlx__now_ms() + FREEZE_TIMEOUT_MS,
                       "guest-fsfreeze-freeze", &a->frozen);
    if (rc == ERROR_TIMEDOUT)
        rc = xlx__error(ERROR_GUEST_TIMEDOUT, "guest agent: the guest's file "
                        "systems were not frozen within %d seconds",
                        FREEZE_TIMEOUT_MS / 1000);
    if (rc) {
        rc = undo_freeze(a, rc);
        goto out;
    }
    *a_r = a;
    a = NULL;

 out:
    free_agent(a);
    return rc;
}

int xlx__agent_thaw(struct xlx__agent *a)
{
    bool lasted = false;
    int rc;

    if (!a)
        return 0;
    rc = thaw_guest(a, &lasted);
    if (rc) goto out;
    if (!lasted)
        rc = xlx__error(ERROR_GUEST_TIMEDOUT, "guest agent: the guest's file "
                        "systems did not stay frozen until the end");

 out:
    free_agent(a);
    return rc;
}

/* ---- which socket ------------------------------------------------------- */

/* The first channel of a list gets the number 0 from xl of Xen 4.11 to 4.17,
 * 4.18.4, 4.19.1 and 4.20.0; libxl keeps that for the primary console, makes
 * no device, and says nothing (xl_parse.c, libxl__device_console_add). */
static int no_agent(void)
{
    return xlx__error(ERROR_NOT_READY, "no guest agent channel: add "
                      "channel=[\"connection=socket,path=/run/xen/ga-NAME,"
                      "name=" AGENT_NAME "\"] to the guest's config and run "
                      "qemu-ga in the guest; if it is there, put "
                      "\"connection=pty,name=unused\" before it: xl before "
                      "4.20.1 loses the first channel");
}

static int channel_socket(xlx_ctx *ctx, uint32_t domid, char **path_r)
{
    libxl_device_channel *channels;
    const char *path = NULL;
    libxl_ctx *libxl;
    int i, num = 0;
    int rc;

    rc = xlx__ctx_libxl(ctx, &libxl);
    if (rc) return rc;
    channels = libxl_device_channel_list(libxl, domid, &num);
    for (i = 0; channels && i < num; i++)
        if (channels[i].connection == LIBXL_CHANNEL_CONNECTION_SOCKET
            && channels[i].name && !strcmp(channels[i].name, AGENT_NAME))
            path = channels[i].u.socket.path;
    rc = path ? xlx__set_string(path_r, path) : no_agent();

    for (i = 0; channels && i < num; i++)
        libxl_device_channel_dispose(&channels[i]);
    free(channels);
    return rc;
}

/* "unix:PATH,server=on" or "disconnected:unix:PATH,server=on"; NULL for
 * anything but a listening UNIX socket, or for lack of memory. */
static char *path_of_chardev(const char *filename)
{
    static const char disconnected[] = "disconnected:", local[] = "unix:";
    const char *end;

    if (!strncmp(filename, disconnected, strlen(disconnected)))
        filename += strlen(disconnected);
    if (strncmp(filename, local, strlen(local)))
        return NULL;
    filename += strlen(local);
    end = strstr(filename, ",server");
    return end ? xlx__printf("%.*s", (int)(end - filename), filename) : NULL;
}

static int chardev_socket(xlx_ctx *ctx, const xlx_guest *guest, char **path_r)
{
    const struct xlx__json *list, *v;
    struct xlx__qmp *qmp = NULL;
    const char *label, *filename;
    char *path = NULL;
    int rc;

    rc = xlx__qmp_open(ctx, guest, &qmp);
    if (rc) return rc;
    rc = xlx__qmp_call(qmp, "query-chardev", NULL, &list);
    if (rc) goto out;
    rc = xlx__json_expect(list, XLX__JSON_ARRAY);
    if (rc) goto out;
    for (v = xlx__json_first(list); v && !path; v = xlx__json_next(v)) {
        rc = xlx__json_member_string(v, "label", &label);
        if (rc) goto out;
        rc = xlx__json_member_string(v, "filename", &filename);
        if (rc) goto out;
        if (strstr(label, AGENT_NAME) || !strncmp(label, "qga", 3))
            path = path_of_chardev(filename);
    }
    if (path)
        *path_r = path;
    else
        rc = xlx__error(ERROR_NOT_READY, "\"%s\": this QEMU has no character "
                        "device for a guest agent: its id must begin with "
                        "qga, and it must be a listening UNIX socket",
                        guest->qmp_socket);

 out:
    xlx__qmp_close(qmp);
    return rc;
}

int xlx__agent_socket(xlx_ctx *ctx, const xlx_guest *guest, char **path_r)
{
    char *path = NULL;
    int rc;

    if (guest->qmp_socket && *guest->qmp_socket)
        rc = chardev_socket(ctx, guest, &path);
    else if (guest->domid == XLX_DOMID_NONE)
        rc = xlx__error(ERROR_NOT_READY, "\"%s\": the guest is shut down: "
                        "there is no guest agent to ask", guest->name);
    else
        rc = channel_socket(ctx, guest->domid, &path);
    if (rc) return rc;
    *path_r = path;
    return 0;
}
