using System.Text;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The standard output and the standard error, which take all letters.</summary>
internal static class StandardStreams
{
    /// <summary>
    /// Windows would have its consoles' code page, which lacks most letters of the world. A console takes UTF-16 with any of them, and so nothing is left
    /// set in it; files and pipes get UTF-8, as elsewhere.
    /// </summary>
    public static (TextWriter Output, TextWriter Error) Open()
    {
        if (!OperatingSystem.IsWindows())
        {
            return (Console.Out, Console.Error);
        }

        Console.OutputEncoding = Encoding.Unicode;
        return (
            Console.IsOutputRedirected ? Utf8(Console.OpenStandardOutput()) : Console.Out,
            Console.IsErrorRedirected ? Utf8(Console.OpenStandardError()) : Console.Error);
    }

    private static StreamWriter Utf8(Stream stream) => new(stream, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true };
}
