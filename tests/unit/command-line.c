/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commands of tests/idl/good, for command-line.bats: each prints what its
 * generated parser made of the command line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gen-commands.h"

static const char *quoted(const char *s)
{
    static char buffer[2][100];
    static int turn;

    if (!s)
        return "none";
    turn = !turn;
    snprintf(buffer[turn], sizeof(buffer[turn]), "\"%s\"", s);
    return buffer[turn];
}

int xl_shape_find_main(int argc, char **argv)
{
    struct xl_shape_find_args args;
    int i, status;

    status = xl_shape_find_parse(argc, argv, &args);
    if (status >= 0)
        return status;
    printf("place=%s all=%d limit=%" PRIu32 " kind=%s sort_by=%s",
           quoted(args.place), args.all, args.limit,
           xlx_shape_kind_to_string(args.kind), quoted(args.sort_by));
    for (i = 0; i < args.num_name; i++)
        printf(" %s", quoted(args.name[i]));
    for (i = 0; i < args.num_near; i++)
        printf(" near=%s", quoted(args.near[i]));
    printf("\n");
    return 0;
}

/* What the generated main() of shape-check, which the IDL binds to a call,
 * needs of the library and of plugin.c. */
xlx_ctx *xl_ctx(void)
{
    return NULL;
}

int xl_failed(int rc)
{
    printf("failed %d\n", rc);
    return 1;
}

int xl_print_json(char *text)
{
    printf("json %s\n", text);
    return 0;
}

int xlx_shape_check(xlx_ctx *ctx, const xlx_shape_spec *spec,
                    const char *place, const xlx_point *hint,
                    xlx_shape *shape_r)
{
    (void)ctx;
    shape_r->flag = spec->fill;
    return strcmp(place, "nowhere") ? hint ? ERROR_FAIL : 0 : ERROR_NOTFOUND;
}

char *xlx_shape_to_json(xlx_ctx *ctx, const xlx_shape *p)
{
    static char filled[] = "filled", empty[] = "empty";

    (void)ctx;
    return p->flag ? filled : empty;
}

void xl_shape_check_print(const struct xl_shape_check_args *args,
                          const xlx_shape *shape)
{
    printf("place=%s flag=%d\n", quoted(args->place), shape->flag);
}

int xl_shape_draw_main(int argc, char **argv)
{
    struct xl_shape_draw_args args;
    int status;

    status = xl_shape_draw_parse(argc, argv, &args);
    if (status >= 0)
        return status;
    printf("name=%s fill=%d thickness=%" PRIu32 " kind=%s dry_run=%d,%d\n",
           quoted(args.shape_spec.name), args.shape_spec.fill,
           args.shape_spec.thickness,
           xlx_shape_kind_to_string(args.shape_spec.kind), args.dry_run,
           args.shape_spec.dry_run);
    return 0;
}

int main(int argc, char **argv)
{
    const struct xl_command *command;

    command = xl_command_find(xl_shapes_commands, &argc, &argv);
    return command ? command->main(argc, argv) : 2;
}
