/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIM_PLANT_H
#define TESTS_SIM_PLANT_H

#include <stdbool.h>

/* Old faults, to be found again: --plant NAME. */
struct plant {
	const char *name, *what;
	/* The other rules stop nearly every schedule of it: --plants leaves it to the model
	 * (FAULT_8). */
	bool        rare;
};
extern const struct plant plants[];
extern const char        *sim_plant;      /* the one that is planted; NULL none */

/* Everything but the fault itself: the seed that finds the fault must pass then. */
extern bool               sim_plant_off;

bool plant(const char *name);
bool plant_asked(const char *name);

#endif
