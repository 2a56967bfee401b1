#ifndef TESTS_SIM_PLANT_H
#define TESTS_SIM_PLANT_H

#include <stdbool.h>

/* Old faults, to be found again: --plant NAME. */
struct plant { const char *name, *what; };
extern const struct plant plants[];
extern const char        *sim_plant;      /* the one that is planted; NULL none */

bool plant(const char *name);

#endif
