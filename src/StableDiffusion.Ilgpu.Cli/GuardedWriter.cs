using System.Text;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>A writer that hands everything on, and has its own way with what the other one does not take.</summary>
/// <param name="inner">The other one.</param>
internal abstract class GuardedWriter(TextWriter inner) : TextWriter
{
    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value) => Try(() => inner.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => inner.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => inner.Write(value));

    public override void WriteLine(string? value) => Try(() => inner.WriteLine(value));

    public override void Flush() => Try(inner.Flush);

    /// <summary>Runs what may fail.</summary>
    protected abstract void Try(Action write);
}
