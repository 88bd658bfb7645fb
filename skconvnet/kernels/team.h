/* The threads of an OpenMP team; without OpenMP, a team of one. */

#ifndef SKCONVNET_TEAM_H
#define SKCONVNET_TEAM_H

#ifdef _OPENMP
#include <omp.h>

/* A barrier that belongs to the innermost parallel region around the caller. */
static inline void synchronize(void) {
#pragma omp barrier
}
#else
static inline int omp_get_thread_num(void) { return 0; }
static inline int omp_get_num_threads(void) { return 1; }
static inline void synchronize(void) {}
#endif

#endif
