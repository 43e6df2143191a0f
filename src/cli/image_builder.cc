// The steps from a recipe to a disk.
#include "cli/image_builder.h"

#include <unistd.h>

#include <fstream>

#include "cli/apt_sources.h"
#include "cli/file_copy.h"

namespace doppel {
namespace {

namespace fs = std::filesystem;

Result<fs::path> only_file(const fs::path& folder, const std::string& prefix) {
  fs::path found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().starts_with(prefix) && found < entry->path()) found = entry->path();
  }
  if (found.empty()) return fail("the packages brought no {}*; is there a kernel among them?", prefix);
  return found;
}

Result<void> write_file(const fs::path& folder, const ImageFile& file) {
  const fs::path target = folder / file.path;
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  if (file.is_link) {
    fs::create_symlink(file.content, target, error);
  } else {
    std::ofstream stream(target);
    stream << file.content;
    stream.close();
    if (!stream) return fail("cannot write {}", target.string());
    fs::permissions(target, static_cast<fs::perms>(file.mode), error);
  }
  if (error) return fail("cannot write {}: {}", target.string(), error.message());
  return {};
}

}  // namespace

bool ImageEntry::is_complete() const {
  std::error_code error;
  return fs::exists(disk, error) && fs::exists(kernel, error) && fs::exists(initrd, error);
}

Result<ImageBuilder::Tools> ImageBuilder::find_tools() {
  Tools tools;
  tools.mmdebstrap = TRY(find_tool("mmdebstrap", "mmdebstrap"));
  tools.mkfs = TRY(find_tool("mkfs.ext4", "e2fsprogs"));
  tools.tar = TRY(find_tool("tar", "tar"));
  if (::geteuid() != 0) {
    tools.fakeroot = TRY(find_tool("fakeroot", "fakeroot"));
    TRY(find_tool("newuidmap", "uidmap"));
  }
  return tools;
}

Result<void> ImageBuilder::run(const std::string& task, const std::vector<std::string>& command) {
  progress_(task);
  const ToolResult result = TRY(run_tool(command, interrupts_, [&](const std::string& line) {
    const bool is_stage =
        line.starts_with("I: ") && line.ends_with("...") && line.find("tempdir") == line.npos;
    if (is_stage) progress_(line.substr(3, line.size() - 6));
  }));
  if (interrupts_.poll_signal() != 0) return fail("interrupted");
  if (result.status == 0) return {};
  return fail("{}: {} ended with status {}: {}", task, fs::path(command[0]).filename().string(),
              result.status, result.complaint);
}

Result<std::vector<std::string>> ImageBuilder::host_apt_settings() {
  const std::string program = TRY(find_tool("apt-config", "apt"));
  std::string dump;
  const ToolResult result = TRY(run_tool({program, "dump"}, interrupts_, [&](const std::string& line) {
    dump += line;
    dump += '\n';
  }));
  if (result.status != 0) return fail("apt-config ended with status {}: {}", result.status, result.complaint);
  return apt_settings(dump);
}

Result<void> ImageBuilder::write_files(const ImageRecipe& recipe, const fs::path& folder) {
  for (const ImageFile& file : image_files(recipe)) TRY_VOID(write_file(folder, file));
  std::error_code error;
  // sshd(8) wants the keys to be root's own business.
  if (fs::exists(folder / "root", error)) fs::permissions(folder / "root", fs::perms::owner_all, error);
  if (fs::exists(folder / "root/.ssh", error))
    fs::permissions(folder / "root/.ssh", fs::perms::owner_all, error);
  if (error) return fail("cannot set permissions in {}: {}", folder.string(), error.message());
  return {};
}

Result<void> ImageBuilder::make_disk(const ImageRecipe& recipe, const Tools& tools, const fs::path& work) {
  const std::string tree = (work / "tree").string();
  const std::string archive = (work / "tree.tar").string();
  std::error_code error;
  fs::create_directories(tree, error);
  fs::create_directories(work / "made", error);
  const auto unpack = unpack_command(tools.tar, archive, tree);
  const auto mkfs = mkfs_command(tools.mkfs, recipe, tree, work / "made" / "disk.raw");
  if (!tools.fakeroot.empty()) return run("making the disk", fakeroot_command(tools.fakeroot, unpack, mkfs));
  TRY_VOID(run("unpacking the tree", unpack));
  fs::remove(archive, error);
  return run("making the disk", mkfs);
}

Result<void> ImageBuilder::export_kernel(const fs::path& work) {
  const ImageEntry made(work / "made");
  const fs::path kernel = TRY(only_file(work / "tree/boot", "vmlinuz-"));
  const fs::path initrd = TRY(only_file(work / "tree/boot", "initrd.img-"));
  TRY_VOID(copy_sparse(kernel, made.kernel));
  return copy_sparse(initrd, made.initrd);
}

Result<void> ImageBuilder::place(const fs::path& made, const ImageEntry& entry) {
  std::error_code error;
  fs::remove_all(entry.folder, error);
  fs::rename(made, entry.folder, error);
  if (error && !entry.is_complete())
    return fail("cannot write {}: {}", entry.folder.string(), error.message());
  return {};
}

Result<ImageEntry> ImageBuilder::build(const ImageRecipe& recipe) {
  const Tools tools = TRY(find_tools());
  const WorkDirectory directory = TRY(WorkDirectory::create(cache_));
  const fs::path& work = directory.path();
  const std::string files_archive = (work / "files.tar").string();
  std::error_code error;
  fs::create_directories(work / "files", error);
  TRY_VOID(write_files(recipe, work / "files"));
  TRY_VOID(
      run("writing configuration", {tools.tar, "--create", "--file", files_archive, "--owner=0", "--group=0",
                                    "--numeric-owner", "--directory", (work / "files").string(), "."}));
  TRY_VOID(run("fetching and installing packages",
               mmdebstrap_command(tools.mmdebstrap, recipe, files_archive, (work / "tree.tar").string())));
  TRY_VOID(make_disk(recipe, tools, work));
  TRY_VOID(export_kernel(work));
  const ImageEntry result = entry(recipe);
  TRY_VOID(place(work / "made", result));
  return result;
}

}  // namespace doppel
