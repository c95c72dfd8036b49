using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What is left of the machine's memory.</summary>
internal static partial class SystemMemory
{
    private const string InformationFile = "/proc/meminfo";

    /// <summary>
    /// Bytes that can be taken without pushing others out, within what this process may have (a container's limit); where the system is not asked, what
    /// the process may have.
    /// </summary>
    public static long Available
    {
        get
        {
            var allowed = Math.Max(0, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - Environment.WorkingSet);
            return Math.Min(allowed, (OperatingSystem.IsWindows() ? OfWindows() : OfLinux()) ?? allowed);
        }
    }

    private static long? OfLinux() =>
        File.Exists(InformationFile) && File.ReadLines(InformationFile).FirstOrDefault(IsAvailable) is { } line
        && long.TryParse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], out var kibibytes) ? kibibytes * 1024 : null;

    private static bool IsAvailable(string line) => line.StartsWith("MemAvailable:", StringComparison.Ordinal);

    private static long? OfWindows()
    {
        var status = new MemoryStatus { Length = Unsafe.SizeOf<MemoryStatus>() };
        return Ask(ref status) ? (long)status.AvailablePhysical : null;
    }

    [LibraryImport("kernel32", EntryPoint = "GlobalMemoryStatusEx")]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool Ask(ref MemoryStatus status);

    /// <summary>Windows' MEMORYSTATUSEX.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MemoryStatus
    {
        public int Length;
        public uint Load;
        public ulong TotalPhysical, AvailablePhysical, TotalPage, AvailablePage, TotalVirtual, AvailableVirtual, AvailableExtended;
    }
}
