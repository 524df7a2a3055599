/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Edits: the changes that inspectors want to the bytes they are shown, one direction of a split
 * flow at a time. Positions count the bytes of the direction from the first one shown.
 */
#ifndef SEAM_EDIT_H
#define SEAM_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct editor;

/* Position of the first byte of the data now being shown. */
uint64_t edit_pos(const struct editor *e);

/*
 * Replaces `remove` bytes from `at` on by `len` bytes at `with`, which are copied. `at` must
 * not be before what is held or shown now, nor within an earlier edit. `at + remove` must not
 * be beyond what has been shown. Insertions at one position keep the order of the calls. 0,
 * -EINVAL or -ENOMEM.
 */
int edit_replace(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len);

/*
 * The same with bytes of the flow's rule, which exist for as long as the flow is split. They
 * are not copied, as a sender may fill its window with data that such edits make much longer.
 */
int edit_replace_by_rule(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len);

/*
 * Keeps bytes on the box, from `at` on, until the inspector is shown more of the direction, or
 * its end; then it has to ask again.
 */
void edit_hold(struct editor *e, uint64_t at);

#endif
