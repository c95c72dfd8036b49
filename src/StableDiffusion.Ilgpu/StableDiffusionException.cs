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
    public StableDiffusionException(string message) : base(OneLine(message)) { }

    /// <summary>Creates the error with its one-line message and what caused it.</summary>
    public StableDiffusionException(string message, Exception inner) : base(OneLine(message), inner) { }

    /// <summary>Whether a device had too little memory: a smaller picture, batch or tile may go well.</summary>
    public bool IsOutOfMemory { get; internal init; }

    /// <summary>The error for a file that the system does not let be read. What it says of a folder, that access is denied, helps nobody.</summary>
    internal static StableDiffusionException CannotRead(string path, Exception e) =>
        new($"{path}: cannot be read: {(Directory.Exists(path) ? "it is a folder, not a file" : e.Message)}", e);

    /// <summary>Messages quote foreign files: what comes from them must neither break the line, steer a terminal nor fill it.</summary>
    private static string OneLine(string message)
    {
        if (message.Length <= LongestMessage && !message.Any(BreaksLine))
        {
            return message;
        }

        var cut = message.Length <= LongestMessage ? message : $"{message.AsSpan(0, LongestMessage)}…";
        return string.Create(cut.Length, cut, static (line, text) =>
        {
            for (var i = 0; i < line.Length; i++)
            {
                line[i] = BreaksLine(text[i]) ? ' ' : text[i];
            }
        });
    }

    private static bool BreaksLine(char c) => char.IsControl(c) || c is '\u2028' or '\u2029';
}
