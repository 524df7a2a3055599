/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Edits: what inspectors want changed of the bytes they are shown, one direction of a
 * split flow at a time. Positions count the bytes of the direction from the first
 * one that was shown.
 */
#ifndef SEAM_EDIT_H
#define SEAM_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct editor;

/* Position of the first byte of the data that is just being shown. */
uint64_t edit_pos(const struct editor *e);

/*
 * Replaces `remove` bytes from `at` on by `len` bytes at `with`, which are copied.
 * `at` is not before what is held or shown now, nor within an edit made before, and
 * `at + remove` not behind what has been shown. What is inserted at one position keeps
 * the order of the calls. 0, -EINVAL or -ENOMEM.
 */
int edit_replace(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len);

/*
 * The same by bytes of the flow's rule, which are there for as long as it is split: they
 * are not copied, as a sender may fill its window with what makes much of little.
 */
int edit_replace_by_rule(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len);

/*
 * Bytes from `at` on stay on the box until the inspector is shown more of the
 * direction, or its end; then it has to say so again.
 */
void edit_hold(struct editor *e, uint64_t at);

#endif
