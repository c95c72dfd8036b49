namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The standard error. Where it takes nothing, nobody can be told; the work goes on, and the exit code still says how it ended.</summary>
internal sealed class ErrorWriter(TextWriter inner) : GuardedWriter(inner)
{
    protected override void Try(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk behind it, or an error output that the shell has closed.
        }
    }
}
