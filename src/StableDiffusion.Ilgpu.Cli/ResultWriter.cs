using System.Text;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The standard output. That it takes nothing more, a full disk behind it for example, is told in one line as any other error.</summary>
internal sealed class ResultWriter(TextWriter inner) : TextWriter
{
    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value) => Try(() => inner.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => inner.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => inner.Write(value));

    public override void WriteLine(string? value) => Try(() => inner.WriteLine(value));

    public override void Flush() => Try(inner.Flush);

    private static void Try(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The system's word for an output that the shell has closed is that access is denied.
            throw new StableDiffusionException($"cannot write to the standard output: {(e is IOException ? e.Message : "it is closed")}", e);
        }
    }
}
