using System.Text.Json;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Memory of a process that does nothing but load a model from fp16 files and make one batch of pictures, and the time of that.</summary>
/// <param name="PeakResidentBytes">
/// The largest resident set that it ever had, pages of mapped files included; a GPU's own memory is no part of it.
/// </param>
/// <param name="ArenaBytes">The arena that all its programs share.</param>
/// <param name="DeviceBytes">The most that was allocated on the device at a time, without what its driver takes.</param>
/// <param name="LoadSeconds">Of loading model and kernels, which measurements before it may have compiled.</param>
/// <param name="PictureSeconds">From the request to the pictures, the second time; null where one step was drawn only.</param>
internal sealed record MemoryUse(long PeakResidentBytes, long ArenaBytes, long DeviceBytes, double LoadSeconds, double? PictureSeconds)
{
    private const string StatusFile = "/proc/self/status";

    /// <summary>Writes a synthetic model as files where they are missing, and measures a child process that uses them.</summary>
    /// <exception cref="StableDiffusionException">The files cannot be written, or the child failed.</exception>
    public static MemoryUse Measure(ModelSubject subject, string? folder)
    {
        var model = folder ?? FolderOf(subject.Model);
        WriteModel(subject.Model, model);
        var child = ChildProcess.RunSelf(
        [
            MemoryCommand.Name, model, "--size", $"{subject.Size}", "--device", subject.Device.Id, "--batch", $"{subject.Pictures}",
            "--steps", $"{subject.PictureSteps}", .. subject.Offload ? ["--offload"] : Array.Empty<string>(),
        ]);
        return JsonSerializer.Deserialize<MemoryUse>(child.Succeeded("the memory measurement").Output)!;
    }

    public override string ToString() =>
        $"peak resident set {PeakResidentBytes / 1e9:0.00} GB, arena {ArenaBytes / 1e6:0.0} MB, allocated on the device {DeviceBytes / 1e9:0.00} GB, "
        + $"loaded in {LoadSeconds:0.0} s{(PictureSeconds is { } seconds ? $", drawn in {seconds:0.00} s" : "")}";

    /// <summary>The largest resident set of this process so far, in bytes.</summary>
    public static long PeakOfThisProcess()
    {
        if (File.Exists(StatusFile)
            && File.ReadLines(StatusFile).FirstOrDefault(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)) is { } line)
        {
            return long.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1]) * 1024;
        }

        using var process = System.Diagnostics.Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    /// <summary>Where the files of a synthetic model lie that the measurements share.</summary>
    public static string FolderOf(string name) => Path.Combine(Path.GetTempPath(), $"sdilgpu-benchmark-{name}");

    /// <summary>Writes a synthetic model as fp16 files where there is none.</summary>
    public static void WriteModel(string name, string folder)
    {
        // The index is written last: a folder that has one is complete.
        if (File.Exists(Path.Combine(folder, DiffusersFolder.IndexName)))
        {
            return;
        }

        SharedOptions.Progress($"writing {folder}");
        using var source = ModelSource.Open(BenchmarkModel.SourceOf(name));
        using var model = LoadedModel.Open(BenchmarkModel.SourceOf(name));
        DiffusersFolderWriter.Write(source, model.OpenWeights, folder, TensorType.F16);
    }
}
