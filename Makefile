# Verbs only; CMake and the scripts do the work.
.PHONY: all run debug test quick style format clean

all:
	tools/build release confabd confab

debug:
	tools/build debug

run:
	./run

test:
	./test

quick:
	./test quick

style:
	./test style

format:
	find src include tests tools -name '*.[ch]' -exec clang-format -i {} +

clean:
	rm -rf build
