using System.Text.RegularExpressions;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;

namespace StableDiffusion.Ilgpu.Benchmarks.OpenCl;

/// <summary>Intel's compiler <c>ocloc</c>: the one of its driver, without a device.</summary>
internal sealed partial class IntelCompiler : IGpuCompiler
{
    private readonly string ocloc;

    private IntelCompiler(string ocloc) => this.ocloc = ocloc;

    public CLDeviceVendor Vendor => CLDeviceVendor.Intel;

    public CLCVersion Language => CLCVersion.CL30;

    /// <returns>Null where it is missing.</returns>
    public static IntelCompiler? Find() => ChildProcess.OnPath("ocloc") is { } ocloc ? new IntelCompiler(ocloc) : null;

    public MatrixUnit? UnitOf(string target) => BackendProfile.UnitOf(target switch
    {
        "dg2" => MatrixInstructions.Intel8,
        "pvc" or "bmg" or "lnl" => MatrixInstructions.Intel16,
        _ => MatrixInstructions.None,
    });

    public GpuBinary Compile(string file, string target)
    {
        const string Name = "kernel";

        // OpenCL C 3.0 without images, which data centres' GPUs have not, is refused for Intel's own header.
        var standard = target == "pvc" ? "CL2.0" : $"CL{Language.Major}.{Language.Minor}";
        var folder = Directory.CreateDirectory(Path.ChangeExtension(file, null)).FullName;
        string[] arguments =
        [
            "compile", "-file", file, "-device", target, "-options", $"-cl-std={standard}", "-out_dir", folder,
            "-output", Name, "-output_no_suffix",
        ];
        var run = ChildProcess.Run(ocloc, arguments, Environment.CurrentDirectory);
        var report = run.Output + run.Error;
        if (run.ExitCode != 0)
        {
            throw new StableDiffusionException(report.Split('\n').FirstOrDefault(l => l.Contains("rror", StringComparison.Ordinal))?.Trim() ?? $"exit code {run.ExitCode}");
        }

        // Older versions leave the ending out.
        var binary = new[] { Name, $"{Name}.bin" }.Select(f => Path.Combine(folder, f)).First(File.Exists);
        ChildProcess.Run(ocloc, ["disasm", "-file", binary, "-device", target, "-dump", folder], Environment.CurrentDirectory);

        // The disassembler is a library of its own, and not everywhere.
        var assembly = Directory.GetFiles(folder, "*.asm").SingleOrDefault();
        return new GpuBinary(
            Number(Registers(), report), Number(Spills(), report) ?? 0, LocalBytes: null,
            assembly is null ? null : CodeListing.FromIntel(File.ReadAllText(assembly)));
    }

    public bool IsMultiplyAdd(string instruction) => MultiplyAdd().IsMatch(instruction);

    public bool IsProduct(string instruction) => instruction.StartsWith("dpas", StringComparison.Ordinal);

    public bool IsSpill(string instruction) => instruction.Contains("scratch block", StringComparison.Ordinal);

    private static int? Number(Regex pattern, string report) => pattern.Match(report) is { Success: true } match ? int.Parse(match.Groups[1].ValueSpan) : null;

    [GeneratedRegex(@"allocated (\d+) regs")]
    private static partial Regex Registers();

    [GeneratedRegex(@"spilled around (\d+)")]
    private static partial Regex Spills();

    [GeneratedRegex(@"^mad \(.*?<1>:f\s")]
    private static partial Regex MultiplyAdd();
}
