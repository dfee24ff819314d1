/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An xl.cfg(5); see xl-config.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/xl-config.h"

#define CONFIG_BYTES (16u << 20)

static int prepare(struct xlx__xl_config *c, const char *name)
{
    memset(c, 0, sizeof(*c));
    c->report = open_memstream(&c->said, &c->len);
    c->cfg = c->report ? xlu_cfg_init(c->report, name) : NULL;
    return c->cfg ? 0 : xlx__nomem();
}

const char *xlx__xl_config_said(struct xlx__xl_config *c,
                                const char *otherwise)
{
    fflush(c->report);
    if (!c->said || !*c->said)
        return otherwise;
    c->said[strcspn(c->said, "\n")] = '\0';
    return c->said;
}

int xlx__xl_config_read_file(struct xlx__xl_config *c, const char *path)
{
    int r, rc;

    rc = prepare(c, path);
    if (rc) return rc;
    /* libxlutil says "Success" of one that it cannot open (4.17) */
    if (access(path, R_OK))
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    r = xlu_cfg_readfile(c->cfg, path);
    if (!r)
        return 0;
    return xlx__error(xlx__errno_rc(r), "%s: %s", path,
                      xlx__xl_config_said(c, strerror(r)));
}

int xlx__xl_config_read_text(struct xlx__xl_config *c, const char *name,
                             const char *text)
{
    size_t len = strlen(text);
    int rc;

    rc = prepare(c, name);
    if (rc) return rc;
    if (len > CONFIG_BYTES)
        return xlx__error(ERROR_INVAL, "%s: more than %u bytes", name,
                          CONFIG_BYTES);
    if (xlu_cfg_readdata(c->cfg, text, (int)len))
        return xlx__error(ERROR_INVAL, "%s: %s", name,
                          xlx__xl_config_said(c, "not an xl.cfg(5)"));
    return 0;
}

void xlx__xl_config_dispose(struct xlx__xl_config *c)
{
    if (c->cfg)
        xlu_cfg_destroy(c->cfg);
    if (c->report)
        fclose(c->report);
    free(c->said);
}
