/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_ANSWER_H
#define VMMIGRATE_ANSWER_H

#include "libcommon/fail.h"
#include "vmmigrate/address.h"

#include <stdbool.h>
#include <stddef.h>

/* --answer: a child process that answers QUERY as long as the source's vmmigrate runs. It knows
 * nothing of the move: like any listener it answers by the record and by whether a vmrun runs. */

struct answer;
int answer_open(struct answer **out, const struct address *at, bool insecure, struct fail *why);
void answer_close(struct answer *a);                           /* NULL is fine */

/* HELLO's `ask`; without a host the target takes the address that the connection comes from. */
const struct address *answer_where(const struct answer *a);

#endif
