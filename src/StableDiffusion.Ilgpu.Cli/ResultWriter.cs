namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The standard output. That it takes nothing more, a full disk behind it for example, is told in one line as any other error.</summary>
internal sealed class ResultWriter(TextWriter inner) : GuardedWriter(inner)
{
    protected override void Try(Action write)
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
