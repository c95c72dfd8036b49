using System.Text.RegularExpressions;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;

namespace StableDiffusion.Ilgpu.Benchmarks.OpenCl;

/// <summary>Clang with AMD's device libraries: what AMD's own drivers compile with.</summary>
internal sealed partial class AmdCompiler : IGpuCompiler
{
    private const int OldestClang = 14;

    private readonly string clang;
    private readonly string libraries;

    private AmdCompiler(string clang, string libraries) => (this.clang, this.libraries) = (clang, libraries);

    public CLDeviceVendor Vendor => CLDeviceVendor.AMD;

    public CLCVersion Language => CLCVersion.CL20;

    /// <summary>Whether a target is AMD's.</summary>
    public static bool Serves(string target) => target.StartsWith("gfx", StringComparison.Ordinal);

    /// <returns>Null where clang or the libraries are missing.</returns>
    public static AmdCompiler? Find()
    {
        var names = Enumerable.Range(OldestClang, 20).Reverse().Select(version => $"clang-{version}").Append("clang");
        var clang = names.Select(ChildProcess.OnPath).FirstOrDefault(path => path is not null);

        // Where the user says, where ROCm and where distributions have them.
        var named = Environment.GetEnvironmentVariable("HIP_DEVICE_LIB_PATH");
        var system = Directory.Exists("/usr/lib") ? Directory.GetDirectories("/usr/lib", "*-linux-gnu") : [];
        var folders = system.Prepend("/opt/rocm").Select(folder => Path.Combine(folder, "amdgcn", "bitcode")).Prepend(named);
        var libraries = folders.FirstOrDefault(Directory.Exists);
        return clang is null || libraries is null ? null : new AmdCompiler(clang, libraries);
    }

    public MatrixUnit? UnitOf(string target) => BackendProfile.UnitOf(MatrixInstructionsOf.Amd(target));

    public GpuBinary Compile(string file, string target)
    {
        var assembly = Path.ChangeExtension(file, ".s");
        string[] arguments =
        [
            "-x", "cl", $"-cl-std=CL{Language.Major}.{Language.Minor}", "-target", "amdgcn-amd-amdhsa", $"-mcpu={target}", "-O3",
            "-Xclang", "-finclude-default-header", $"--rocm-device-lib-path={libraries}", "-S", "-o", assembly, file,
        ];
        var run = ChildProcess.Run(clang, arguments, Environment.CurrentDirectory);
        if (run.ExitCode != 0)
        {
            throw new StableDiffusionException(run.Error.Split('\n').FirstOrDefault(l => l.Contains("error:", StringComparison.Ordinal))?.Trim() ?? $"exit code {run.ExitCode}");
        }

        var text = File.ReadAllText(assembly);
        return new GpuBinary(
            Number("vgpr_count", text), Number("vgpr_spill_count", text) + Number("sgpr_spill_count", text), Number("group_segment_fixed_size", text),
            CodeListing.FromAmd(text));
    }

    public bool IsMultiplyAdd(string instruction) => MultiplyAdd().IsMatch(instruction);

    public bool IsProduct(string instruction) => Product().IsMatch(instruction);

    public bool IsSpill(string instruction) => Scratch().IsMatch(instruction);

    private static int Number(string name, string text) => int.Parse(Regex.Match(text, $@"^\s+\.{name}:\s+(\d+)", RegexOptions.Multiline).Groups[1].ValueSpan);

    [GeneratedRegex("^v_(dual_)?(wmma|mfma|dot2)")]
    private static partial Regex Product();

    /// <summary>Scratch memory, by instructions of its own or by way of a buffer.</summary>
    [GeneratedRegex(@"^(scratch|buffer)_(load|store)_")]
    private static partial Regex Scratch();

    [GeneratedRegex(@"^v_(pk_|dual_)?(fma|fmac|mac|mad)(_mix)?(ak|mk)?_f32")]
    private static partial Regex MultiplyAdd();
}
