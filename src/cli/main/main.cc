// Entry point: parses the command line and runs the command.
#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "cli/image_command.h"
#include "cli/run_command.h"

// NOLINTNEXTLINE(bugprone-exception-escape): of the options only parse() throws.
int main(int argc, char** argv) {
  // The guest goes on when nobody reads its console any more.
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("doppel: an efficient, isolated duplicate of a real machine", "doppel");
  app.require_subcommand(1);
  bool is_verbose = false;
  app.add_flag("-v,--verbose", is_verbose, "Log what the guest does wrong");
  app.set_version_flag("--version", "doppel 0.1.0");
  doppel::RunOptions options;
  doppel::add_run_command(app, options);
  doppel::ImageOptions image_options;
  const CLI::App* image = doppel::add_image_command(app, image_options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "doppel: %s (see doppel --help)\n", error.what());
    return 2;
  }
  if (is_verbose) doppel::set_log_level(doppel::LogLevel::kDebug);
  const doppel::Result<int> status =
      image->parsed() ? doppel::build_image(image_options) : doppel::run_machine(options);
  if (status) return *status;
  std::fprintf(stderr, "doppel: %s\n", status.error().message.c_str());
  return status.error().is_usage ? 2 : 1;
}
