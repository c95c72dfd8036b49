namespace StableDiffusion.Ilgpu;

/// <summary>Gives a file or folder its name when it is whole.</summary>
internal static class FinishedFile
{
    // Windows' errors where a program has a file open.
    private const int SharingViolation = unchecked((int)0x80070020);
    private const int AccessDenied = unchecked((int)0x80070005);

    private const int Tries = 20;

    private static readonly TimeSpan Wait = TimeSpan.FromMilliseconds(50);

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

    private static bool IsReadOnly(string path) => File.Exists(path) && File.GetAttributes(path).HasFlag(FileAttributes.ReadOnly);
}
