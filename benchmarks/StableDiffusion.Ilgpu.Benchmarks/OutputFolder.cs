namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Where a command puts files: into a folder that is kept, or into one that goes with it.</summary>
internal static class OutputFolder
{
    /// <summary>Runs a command with the folder that was named, which is made if it is not there, or with a temporary one.</summary>
    public static int Use(string? named, Func<string, int> command)
    {
        if (named is not null)
        {
            return command(Directory.CreateDirectory(named).FullName);
        }

        var temporary = Directory.CreateTempSubdirectory("sdilgpu-");
        try
        {
            return command(temporary.FullName);
        }
        finally
        {
            temporary.Delete(recursive: true);
        }
    }
}
