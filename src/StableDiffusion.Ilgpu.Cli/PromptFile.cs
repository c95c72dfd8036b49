using System.Text;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>A text file of prompts, one a line; lines without text are skipped.</summary>
internal static class PromptFile
{
    private const int MostBytes = 16 << 20;

    /// <returns>The prompts with their lines' numbers, from 1; at least one.</returns>
    /// <exception cref="StableDiffusionException">The file cannot be read, is no Unicode text or holds no prompt.</exception>
    public static IReadOnlyList<(int Line, string Prompt)> Read(string path)
    {
        var strict = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
        var prompts = new List<(int Line, string Prompt)>();
        var line = 1;
        try
        {
            ReadOnlySpan<byte> bytes = BoundedFile.Read(path, MostBytes, "a file of prompts");
            bytes = bytes.StartsWith(Encoding.UTF8.Preamble) ? bytes[Encoding.UTF8.Preamble.Length..]

                // What Windows' older PowerShell writes.
                : bytes.StartsWith(Encoding.Unicode.Preamble) ? Encoding.Convert(Encoding.Unicode, Encoding.UTF8, bytes[Encoding.Unicode.Preamble.Length..].ToArray())
                : bytes;
            foreach (var range in bytes.Split((byte)'\n'))
            {
                var text = strict.GetString(bytes[range]).Trim();
                if (text.Length > 0)
                {
                    prompts.Add((line, text));
                }

                line++;
            }
        }
        catch (DecoderFallbackException e)
        {
            throw new StableDiffusionException($"{At(path, line)}: is not UTF-8 text", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }

        return prompts.Count > 0 ? prompts : throw new StableDiffusionException($"{path}: holds no prompt; valid: one a line");
    }

    /// <summary>What messages call a line.</summary>
    public static string At(string path, int line) => $"{path}, line {line}";
}
