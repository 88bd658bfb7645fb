/* The highest rate of multiply-adds of this machine, measured with a loop that uses registers only.

   Usage: fma_peak THREADS.  Prints GFLOP/s in float32, the best of five runs. */

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 12 /* independent sums: more than latency times multiply-adds per cycle */
#define STEPS 20000000L

typedef float lanes __attribute__((vector_size(BYTES)));

static float spin(void) {
    lanes sum[CHAINS], factor, term;
    for (int l = 0; l < BYTES / 4; l++) factor[l] = 0.999f, term[l] = 0.001f;
    for (int c = 0; c < CHAINS; c++) sum[c] = term * (float)c;
    for (long i = 0; i < STEPS; i++) {
        for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * factor + term;
    }
    float total = 0;
    for (int c = 0; c < CHAINS; c++) total += sum[c][0];
    return total;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    double best = 0;
    volatile float sink = 0;
    for (int k = 0; k < 5; k++) {
        double start = omp_get_wtime();
#pragma omp parallel num_threads(threads)
        {
            float total = spin();
#pragma omp critical
            sink += total;
        }
        double seconds = omp_get_wtime() - start;
        double rate = 2.0 * CHAINS * STEPS * (BYTES / 4) * threads / seconds / 1e9;
        if (rate > best) best = rate;
    }
    printf("%.1f\n", best);
    return 0;
}
