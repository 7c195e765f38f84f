/* For benchmarks only, and only to make PyTorch faster.

   The MKL inside PyTorch's Linux wheels asks two functions whether it runs on an Intel processor, and
   uses its AVX-512 (and some of its AVX2) code only if they say yes. Answering yes on an AMD processor
   lets PyTorch run about as it would on an Intel one: a comparison should be won against the best
   PyTorch there is, not against the badge on the chip. The harness compiles this file with the system's
   C compiler and preloads it (LD_PRELOAD) in the workers named "unlocked". */

int mkl_serv_intel_cpu_true(void) { return 1; }
int mkl_serv_intel_cpu(void) { return 1; }
