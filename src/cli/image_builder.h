// Makes a guest image of a recipe with the host's Debian tools, or takes it from the cache.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/image_recipe.h"
#include "cli/tool_process.h"

namespace doppel {

// The files of an image in the cache.
struct ImageEntry {
  explicit ImageEntry(const std::filesystem::path& folder)
      : folder(folder),
        disk(folder / "disk.raw"),
        kernel(folder / "vmlinuz"),
        initrd(folder / "initrd.img") {}
  bool is_complete() const;

  std::filesystem::path folder;
  std::filesystem::path disk;
  std::filesystem::path kernel;
  std::filesystem::path initrd;
};

// Runs mmdebstrap, tar and mkfs.ext4 in a work directory inside the cache, which becomes the image's entry
// when everything has worked and is removed otherwise. Without root, mmdebstrap works in a user namespace and
// fakeroot keeps owners and attributes. Owned by the command; used on its one thread.
class ImageBuilder {
 public:
  using Progress = std::function<void(const std::string&)>;

  ImageBuilder(std::filesystem::path cache, Interrupts& interrupts, Progress progress)
      : cache_(std::move(cache)), interrupts_(interrupts), progress_(std::move(progress)) {}

  ImageEntry entry(const ImageRecipe& recipe) const { return ImageEntry(cache_ / recipe_key(recipe)); }
  // Replaces an entry that is there already.
  Result<ImageEntry> build(const ImageRecipe& recipe);
  // The settings that this host's apt needs for its mirror.
  Result<std::vector<std::string>> host_apt_settings();

 private:
  struct Tools {
    std::string mmdebstrap;
    std::string mkfs;
    std::string tar;
    std::string fakeroot;  // empty for root, who needs none
  };

  static Result<Tools> find_tools();
  Result<void> run(const std::string& task, const std::vector<std::string>& command);
  Result<void> write_files(const ImageRecipe& recipe, const std::filesystem::path& folder);
  Result<void> make_disk(const ImageRecipe& recipe, const Tools& tools, const std::filesystem::path& work);
  Result<void> export_kernel(const std::filesystem::path& work);
  Result<void> place(const std::filesystem::path& made, const ImageEntry& entry);

  std::filesystem::path cache_;
  Interrupts& interrupts_;
  Progress progress_;
};

}  // namespace doppel
