using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What is left of the machine's memory.</summary>
internal static partial class SystemMemory
{
    private const string InformationFile = "/proc/meminfo";
    private const string GroupsFile = "/proc/self/cgroup";
    private const string GroupsFolder = "/sys/fs/cgroup";

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

    /// <summary>
    /// Bytes that this process cannot have more of: the machine's memory, or a container's limit where that is less, and swap. Linux promises any number, and
    /// ends a process without a word when it uses more than there is. Where the system is not asked, there is no such bound.
    /// </summary>
    public static long Most => Field("MemTotal:") is > 0 and var machine
        ? Math.Min(machine, ContainersLimit(GroupsFile, GroupsFolder) ?? machine) + (Field("SwapTotal:") ?? 0) : long.MaxValue;

    /// <summary>The least limit of the control groups that this process is in; null without one.</summary>
    /// <param name="groupsFile">A line for each: <c>0::/PATH</c> (version 2), <c>4:memory:/PATH</c> (version 1).</param>
    /// <param name="folder">Where they are.</param>
    internal static long? ContainersLimit(string groupsFile, string folder)
    {
        long? least = null;
        try
        {
            foreach (var line in File.Exists(groupsFile) ? File.ReadLines(groupsFile) : [])
            {
                if (line.Split(':', 3) is not [_, var controllers, var path] || (controllers.Length > 0 && !controllers.Split(',').Contains("memory")))
                {
                    continue;
                }

                // A group's memory is that of those above it too. Within a container the path may be another one than its own folder's, which is the first one.
                var (root, name) = controllers.Length == 0 ? (folder, "memory.max") : (Path.Combine(folder, "memory"), "memory.limit_in_bytes");
                for (var group = path.Trim('/'); ; group = Path.GetDirectoryName(group) ?? "")
                {
                    var file = Path.Combine(root, group, name);
                    if (File.Exists(file) && long.TryParse(File.ReadAllText(file), out var limit))
                    {
                        least = Math.Min(limit, least ?? limit);
                    }

                    if (group.Length == 0)
                    {
                        break;
                    }
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What is known so far.
        }

        return least;
    }

    private static long? OfLinux() => Field("MemAvailable:");

    /// <summary>A line of the system's table, in bytes; null where there is none.</summary>
    private static long? Field(string name) =>
        File.Exists(InformationFile) && File.ReadLines(InformationFile).FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal)) is { } line
        && long.TryParse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], out var kibibytes) ? kibibytes * 1024 : null;

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
