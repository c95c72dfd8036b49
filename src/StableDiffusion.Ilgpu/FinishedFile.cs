namespace StableDiffusion.Ilgpu;

/// <summary>Gives a file or folder its name when it is whole.</summary>
internal static class FinishedFile
{
    // Windows' errors where a program has a file open.
    private const int SharingViolation = unchecked((int)0x80070020);
    private const int AccessDenied = unchecked((int)0x80070005);

    private const int Tries = 20;

    // Letters of a name that every file system takes.
    private const int SurelyTaken = 32;

    // Letters of a name at most, on any file system; where they count bytes, some of fewer letters are too long as well.
    private const int LongestName = 255;

    private static readonly TimeSpan Wait = TimeSpan.FromMilliseconds(50);

    /// <summary>
    /// What a path stands for: where it is a symbolic link, that which it points to in the end, whether that is there or not. Links stay, as they do when other
    /// programs write.
    /// </summary>
    /// <exception cref="IOException">Links point to one another.</exception>
    public static string TargetOf(string path) =>
        new FileInfo(path) is { LinkTarget: not null } link ? link.ResolveLinkTarget(returnFinalTarget: true)!.FullName : path;

    /// <summary>A name for what is written until it is whole: in the same folder, so that the move is a rename; not made from a name that may be as long as names can be.</summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="isLarge">A process that is killed leaves it behind; gigabytes should be seen.</param>
    public static string TemporaryBeside(string path, bool isLarge = false) =>
        Path.Combine(FolderOf(path), $"{(isLarge ? "" : ".")}sdilgpu-{Guid.NewGuid():N}.tmp");

    public static string FolderOf(string path) => Path.GetDirectoryName(Path.GetFullPath(path)) ?? path;

    /// <summary>
    /// Refuses what cannot be a file's or folder's name on this system. Some systems say so only when what is finished is to get its name, or, where a colon
    /// is in it, put it somewhere else.
    /// </summary>
    /// <exception cref="IOException">It cannot.</exception>
    public static void CheckName(string path)
    {
        if (IsDevice(Path.GetFullPath(path)))
        {
            throw new IOException("a device's name cannot be given to a file");
        }

        var name = Path.GetFileName(path);
        if (name.IndexOfAny(Path.GetInvalidFileNameChars()) is >= 0 and var at)
        {
            throw new IOException($"no file's name can have {(char.IsControl(name[at]) ? "control characters" : $"a '{name[at]}'")} here");
        }

        if (name.Length > LongestName)
        {
            throw new PathTooLongException();
        }
    }

    /// <summary>Finds out, without changing anything, whether a file can get this name, and be put in the place of one that has it.</summary>
    /// <exception cref="IOException">It cannot.</exception>
    /// <exception cref="UnauthorizedAccessException">The same.</exception>
    public static void CheckReplaceable(string path)
    {
        if (!File.Exists(path) && Path.GetFileName(path).Length <= SurelyTaken)
        {
            return;
        }

        try
        {
            // For reading too: a pipe that is opened for writing alone waits for somebody who reads it.
            using var existing = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
            if (!existing.CanSeek)
            {
                throw new IOException("it is a pipe or a device, not a file");
            }
        }
        catch (FileNotFoundException)
        {
            // The name can be had.
        }
    }

    /// <summary>Why a file cannot be written, for people who know its name and not the one that it has while it is written.</summary>
    public static string Reason(Exception e) => e switch
    {
        UnauthorizedAccessException => "access is denied",
        FileNotFoundException or DirectoryNotFoundException => "the folder takes no new files",
        PathTooLongException => "the name is too long",
        ArgumentException => "no file can have this name",

        // "No space left on device : '(the file)'"
        _ => e.Message.Split(" : ")[0].ReplaceLineEndings(" "),
    };

    /// <summary>
    /// Puts a file in the place of another one or of none, or a folder in the place of none. Windows refuses that while any program has one of them
    /// open, as scanners have each new file for a moment, and viewers a picture that changes: for a second it is tried again.
    /// </summary>
    /// <exception cref="IOException">It cannot be put there.</exception>
    /// <exception cref="UnauthorizedAccessException">The same.</exception>
    public static void Move(string from, string to)
    {
        for (var left = Tries; ; left--)
        {
            try
            {
                if (Directory.Exists(from))
                {
                    Directory.Move(from, to);
                }
                else
                {
                    File.Move(from, to, overwrite: true);
                }

                return;
            }
            catch (Exception e) when (OperatingSystem.IsWindows() && e.HResult is SharingViolation or AccessDenied && !IsReadOnly(to))
            {
                if (left == 0)
                {
                    throw new IOException("a program has it open", e);
                }

                Thread.Sleep(Wait);
            }
        }
    }

    /// <summary>Linux has devices in a folder, beside one for files in memory; Windows has some in every folder (<c>NUL</c>), and gives those this path.</summary>
    private static bool IsDevice(string full) => OperatingSystem.IsWindows()
        ? full.StartsWith(@"\\.\", StringComparison.Ordinal)
        : full.StartsWith("/dev/", StringComparison.Ordinal) && !full.StartsWith("/dev/shm/", StringComparison.Ordinal);

    private static bool IsReadOnly(string path) => File.Exists(path) && File.GetAttributes(path).HasFlag(FileAttributes.ReadOnly);
}
