using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// Asks Linux for large pages. A page is made when it is first touched: gigabytes of small ones take longer than reading what fills them.
/// </summary>
internal static partial class LargePages
{
    /// <summary>Below this there is little to gain, and a page that is only used in part costs memory.</summary>
    private const long Smallest = 8 << 20;

    private const int Advice = 14; // MADV_HUGEPAGE

    /// <summary>A wish: where it is not granted nothing changes.</summary>
    public static void Prefer(nint address, long bytes)
    {
        if (!OperatingSystem.IsLinux() || bytes < Smallest)
        {
            return;
        }

        var page = Environment.SystemPageSize;
        var start = (address + page - 1) / page * page;
        try
        {
            _ = Advise(start, (nuint)((address + bytes - start) / page * page), Advice);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            // A system without that call.
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}
