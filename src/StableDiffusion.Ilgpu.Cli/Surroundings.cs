using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>What .NET and ILGPU take for granted, and fail without a word of use to anybody where it is missing.</summary>
internal static class Surroundings
{
    /// <summary>The names that .NET looks for, one after the other.</summary>
    private static readonly string[] OpenSslNames = ["libssl.so.3", "libssl.so.4", "libssl.so.1.1", "libssl.so.1.0.2", "libssl.so.1.0.0", "libssl.so.10"];

    /// <summary>For commands that open or fetch a model.</summary>
    /// <exception cref="StableDiffusionException">Something is missing.</exception>
    public static void Check(CommandContext context)
    {
        if (OperatingSystem.IsLinux() && context.Environment("CLR_OPENSSL_VERSION_OVERRIDE") is null)
        {
            CheckOpenSsl(name => NativeLibrary.TryLoad(name, out _));
        }

        CheckFolder(() => System.Environment.CurrentDirectory);
    }

    /// <summary>.NET on Linux computes hashes with OpenSSL, and ends the process where it does not find it.</summary>
    internal static void CheckOpenSsl(Func<string, bool> isThere)
    {
        if (!OpenSslNames.Any(isThere))
        {
            throw new StableDiffusionException(
                $"OpenSSL's library {OpenSslNames[0]} is missing, which .NET needs for models' hashes; install it (of Debian's packages libssl3 or libssl3t64)");
        }
    }

    /// <summary>ILGPU asks for it.</summary>
    internal static void CheckFolder(Func<string> current)
    {
        try
        {
            _ = current();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException("the folder that the program was started in is not there any more; start it in another one", e);
        }
    }
}
