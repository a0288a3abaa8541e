# The doors a newcomer uses. `make` alone lists them.

.PHONY: help demo run test quick lint doc chaos fuzz bench bench-failover tools clean
.DEFAULT_GOAL := help

help: ## list these
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: ## watch failovers, with nothing to install
	@cargo run --quiet -- demo

run: ## a proxy in front of an echo server, with nothing to install
	@cargo run --quiet --example echo

test: tools lint doc ## everything that has to pass, installing what it needs
	cargo deny check bans licenses sources
	cargo test --doc
	cargo test --lib --bins --examples --features chaos
	cargo test --test it --features chaos

quick: ## the tests that need no other server
	cargo test --lib --bins

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --all-targets --features chaos -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --quiet

chaos: ## a thousand of each fault under traffic
	STAGEDOOR_CHAOS=1000 cargo test --features chaos --test it chaos -- --nocapture

fuzz: ## a minute of any bytes for each reader of what strangers send
	PROPTEST_CASES=100000 cargo test --features chaos --lib wire::proxy_header
	@command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
	@mkdir -p fuzz/corpus/header fuzz/corpus/hello
	cargo fuzz run -s none header fuzz/corpus/header fuzz/seeds/header -- -max_total_time=60 -max_len=4200
	cargo fuzz run -s none hello fuzz/corpus/hello fuzz/seeds/hello -- -max_total_time=60

bench-failover: tools ## what failovers of real servers take, with their timelines (RUNS=3)
	STAGEDOOR_RUNS=$(or $(RUNS),3) cargo bench --bench failover

bench: tools ## what TLS costs, beside HAProxy and nginx where they are installed (RUNS=3)
	STAGEDOOR_RUNS=$(or $(RUNS),3) cargo bench --bench tls

tools: ## install what the tests need (Debian)
	@.ci/tools

clean:
	cargo clean
