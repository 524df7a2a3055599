// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The input is a frame as read from the hold device. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flow_key rev, back;
	struct frame f;

	if (frame_parse(data, size, &f))
		return 0;
	if (f.payload < data || f.payload > data + size || f.len > size ||
	    f.len > (size_t)(data + size - f.payload))
		abort();
	frame_reverse(&f.key, &rev);
	frame_reverse(&rev, &back);
	if (memcmp(&back, &f.key, sizeof(back)))
		abort();
	return 0;
}
