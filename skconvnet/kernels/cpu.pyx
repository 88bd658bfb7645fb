"""What this processor and this build can do."""

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define HAS_OPENMP 1
    #else
    #define HAS_OPENMP 0
    static inline int omp_get_max_threads(void) { return 1; }
    #endif

    #if defined(__x86_64__) && defined(__GNUC__)
    static int runs_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
            && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    }
    static int runs_avx512(void) {
        return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int runs_avx2(void) { return 0; }
    static int runs_avx512(void) { return 0; }
    #endif

    #ifdef __aarch64__
    #define HAS_NEON 1  /* every such processor has it */
    #else
    #define HAS_NEON 0
    #endif
    """
    bint HAS_OPENMP
    bint HAS_NEON
    int omp_get_max_threads()
    bint runs_avx2()
    bint runs_avx512()


has_openmp = bool(HAS_OPENMP)


def list_runnable_isas():
    """Names of the instruction sets that this processor runs, the widest first."""
    narrowest = "neon" if HAS_NEON else "baseline"
    return ["avx512"] * runs_avx512() + ["avx2"] * runs_avx2() + [narrowest]


def get_max_threads():
    """Threads that OpenMP would use here; OMP_NUM_THREADS and threadpoolctl count."""
    return omp_get_max_threads()
