using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What the processor is called. ILGPU calls every one "CPUAccelerator".</summary>
internal static partial class ProcessorName
{
    private const string InformationFile = "/proc/cpuinfo";

    /// <summary>Implementer and part, as Linux gives them for ARM's processors in the place of a name (Arm's and the makers' manuals: register MIDR_EL1).</summary>
    private static readonly Dictionary<(int Implementer, int Part), string> Parts = new()
    {
        [(0x41, 0xd03)] = "Cortex-A53",
        [(0x41, 0xd05)] = "Cortex-A55",
        [(0x41, 0xd07)] = "Cortex-A57",
        [(0x41, 0xd08)] = "Cortex-A72",
        [(0x41, 0xd09)] = "Cortex-A73",
        [(0x41, 0xd0b)] = "Cortex-A76",
        [(0x41, 0xd0c)] = "Neoverse N1",
        [(0x41, 0xd40)] = "Neoverse V1",
        [(0x41, 0xd41)] = "Cortex-A78",
        [(0x41, 0xd42)] = "Cortex-A78AE",
        [(0x41, 0xd49)] = "Neoverse N2",
        [(0x41, 0xd4f)] = "Neoverse V2",
        [(0x4e, 0x004)] = "NVIDIA Carmel",
        [(0xc0, 0xac3)] = "Ampere-1",
        [(0xc0, 0xac4)] = "Ampere-1A",
    };

    public static string Value { get; } =
        (OperatingSystem.IsMacOS() ? OfMac() : OfLinux()) ?? OfX86() ?? $"{RuntimeInformation.ProcessArchitecture} processor";

    /// <param name="information">Lines of Linux's information about the processor, which has a part for each core: no more is read than is needed.</param>
    /// <returns>Null where they name none.</returns>
    public static string? Of(IEnumerable<string> information)
    {
        if (ValuesOf(information, "model name").FirstOrDefault() is { } name)
        {
            return name;
        }

        // Slow and fast cores of one processor are different parts.
        var known = ValuesOf(information, "CPU implementer").Zip(ValuesOf(information, "CPU part"))
            .Select(core => Parts.GetValueOrDefault((Hexadecimal(core.First), Hexadecimal(core.Second)))).OfType<string>().Distinct();
        return string.Join(" and ", known) is { Length: > 0 } parts ? parts : null;
    }

    private static IEnumerable<string> ValuesOf(IEnumerable<string> information, string key) => information
        .Where(line => line.StartsWith(key, StringComparison.Ordinal) && line.Contains(':', StringComparison.Ordinal))
        .Select(line => line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim());

    private static int Hexadecimal(string text)
    {
        try
        {
            return Convert.ToInt32(text, 16);
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException)
        {
            return -1;
        }
    }

    private static string? OfLinux() => OperatingSystem.IsLinux() && File.Exists(InformationFile) ? Of(File.ReadLines(InformationFile)) : null;

    /// <summary>What an x86 processor calls itself; null for others.</summary>
    public static string? OfX86()
    {
        const int first = unchecked((int)0x80000002), last = unchecked((int)0x80000004);
        if (!X86Base.IsSupported || (uint)X86Base.CpuId(int.MinValue, 0).Eax < unchecked((uint)last))
        {
            return null;
        }

        int[] text = [.. Enumerable.Range(first, last - first + 1).Select(leaf => X86Base.CpuId(leaf, 0)).SelectMany(r => new[] { r.Eax, r.Ebx, r.Ecx, r.Edx })];
        return NotEmpty(Encoding.ASCII.GetString(MemoryMarshal.AsBytes(text.AsSpan())));
    }

    private static string? NotEmpty(string name) => name.Trim('\0', ' ') is { Length: > 0 } text ? text : null;

    private static string? OfMac()
    {
        var name = new byte[256];
        var size = (nuint)name.Length;
        try
        {
            return SystemControl("machdep.cpu.brand_string", name, ref size, 0, 0) == 0 ? NotEmpty(Encoding.UTF8.GetString(name, 0, (int)size)) : null;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "sysctlbyname", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SystemControl(string name, [Out] byte[] value, ref nuint size, nint newValue, nuint newSize);
}
