/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_ANSWER_H
#define VMMIGRATE_ANSWER_H

#include "libcommon/fail.h"
#include "vmmigrate/address.h"

#include <stdbool.h>
#include <stddef.h>

/* --answer: a child process that answers QUERY while the source's vmmigrate lives. It knows nothing of the move: like any
 * listener it answers from the record and from whether a lease is held. */

struct answer;
int answer_open(struct answer **out, const struct address *at, bool insecure, struct fail *why);
void answer_close(struct answer *a);                           /* NULL is fine */

/* HELLO's `ask`; without a host: the address that we connect from. */
const struct address *answer_where(const struct answer *a);

#endif
