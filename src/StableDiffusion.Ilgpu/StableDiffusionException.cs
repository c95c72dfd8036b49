namespace StableDiffusion.Ilgpu;

/// <summary>
/// An error that the user can act on: a missing or damaged file, a wrong shape, an unknown name, a device that is not there.
/// <see cref="Exception.Message"/> is one line that names the value and, where there is a choice, the valid ones.
/// </summary>
public sealed class StableDiffusionException : Exception
{
    /// <summary>Longer than any message that we write; what is longer quotes a damaged file.</summary>
    private const int LongestMessage = 2000;

    /// <summary>Creates the error with its one-line message.</summary>
    public StableDiffusionException(string message) : base(ShownText.OneLine(message, LongestMessage)) { }

    /// <summary>Creates the error with its one-line message and what caused it.</summary>
    public StableDiffusionException(string message, Exception inner) : base(ShownText.OneLine(message, LongestMessage), inner) { }

    /// <summary>Whether a device had too little memory: a smaller picture, batch or tile may go well.</summary>
    public bool IsOutOfMemory { get; internal init; }

    /// <summary>The error for a file that the system does not let be read. What it says of a folder, that access is denied, helps nobody.</summary>
    internal static StableDiffusionException CannotRead(string path, Exception e) =>
        new($"{path}: cannot be read: {(Directory.Exists(path) ? "it is a folder, not a file" : e.Message)}", e);
}
