using System.Runtime.InteropServices;
using ImageMagick;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// The native part of Magick.NET, which there is for Linux, Windows and, on ARM64, macOS. Without it pictures are drawn and saved all the same
/// (<see cref="PlainPng"/>), and what needs it says so.
/// </summary>
internal static class ImageLibrary
{
    private static readonly Lazy<Exception?> Failure = new(Use);

    public static bool IsPresent => Failure.Value is null;

    /// <summary>Where it is not, why something cannot be done.</summary>
    public static string Missing => $"the native part of the image library, Magick.NET, is missing ({RuntimeInformation.RuntimeIdentifier})";

    /// <param name="action">What needs it, as in "cannot …".</param>
    /// <exception cref="StableDiffusionException">It is not there.</exception>
    public static void Require(string action)
    {
        if (Failure.Value is { } error)
        {
            throw new StableDiffusionException($"cannot {action}: {Missing}", error);
        }
    }

    private static Exception? Use()
    {
        try
        {
            _ = ResourceLimits.Memory;
            return null;
        }
        catch (Exception e) when (e is TypeInitializationException or DllNotFoundException or BadImageFormatException or EntryPointNotFoundException
            or NotSupportedException)
        {
            return e;
        }
    }
}
