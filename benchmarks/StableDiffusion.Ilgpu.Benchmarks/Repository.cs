namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>The checkout that this program was built in.</summary>
internal static class Repository
{
    private const string Solution = "StableDiffusion.Ilgpu.sln";

    /// <summary>Beside a program that was packed for a machine without git: the commit that it was made of.</summary>
    private const string PackedCommit = "COMMIT";

    /// <exception cref="StableDiffusionException">The program does not lie in a checkout.</exception>
    public static string Root
    {
        get
        {
            for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            {
                if (File.Exists(Path.Combine(folder.FullName, Solution)))
                {
                    return folder.FullName;
                }
            }

            throw new StableDiffusionException($"{AppContext.BaseDirectory}: not in a checkout (no {Solution} in it or above it)");
        }
    }

    /// <summary>Hash of the commit, with <c>-dirty</c> behind it where files differ from it.</summary>
    /// <exception cref="StableDiffusionException">git does not know it.</exception>
    public static string Commit()
    {
        var packed = Path.Combine(AppContext.BaseDirectory, PackedCommit);
        if (File.Exists(packed))
        {
            return File.ReadAllText(packed).Trim();
        }

        var root = Root;
        var hash = Git("rev-parse", "--short=12", "HEAD");
        return Git("status", "--porcelain").Length == 0 ? hash : $"{hash}-dirty";

        string Git(params string[] arguments) =>
            ChildProcess.Run("git", arguments, root).Succeeded("no number without its commit: git").Output.Trim();
    }
}
