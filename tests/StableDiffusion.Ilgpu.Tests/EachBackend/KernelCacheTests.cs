using System.IO.Compression;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Compiled kernels in files: that they are used, and that nothing is different for it.</summary>
[Collection(SharedDevice.Name)]
public sealed class KernelCacheTests
{
    private static readonly DateTime LongAgo = new(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    public static TheoryData<string> Backends => [.. Backend.BestNames.Where(name => Backend.Find(name).Half)];

    /// <summary>If this fails with another version of ILGPU, nothing else does: kernels are compiled in each process.</summary>
    [Fact]
    public void ILGPU_has_what_kernels_are_put_together_with() => Assert.True(KernelCache.IsAvailable);

    [Theory]
    [MemberData(nameof(Backends))]
    public void Kernels_are_found_again_and_compute_the_same(string backend)
    {
        using var folder = new TemporaryFolder();
        var plain = Draw(backend, null);
        Assert.Equal(plain, Draw(backend, folder.Path));
        var files = FilesIn(folder);
        if (Backend.Find(backend).Device.Kind == DeviceKind.Cpu)
        {
            // Nothing is compiled for the processor.
            Assert.Empty(files);
            return;
        }

        Assert.NotEmpty(files);
        Assert.All(files, file => File.SetLastWriteTimeUtc(file, LongAgo));
        Assert.Equal(plain, Draw(backend, folder.Path));
        Assert.Equal(files, FilesIn(folder));
        Assert.All(files, file => Assert.Equal(LongAgo, File.GetLastWriteTimeUtc(file)));

        // Shorter, empty, of another content, and with a text that is not what was kept: all are written anew.
        for (var i = 0; i < files.Length; i++)
        {
            var bytes = File.ReadAllBytes(files[i]);
            File.WriteAllBytes(files[i], (i % 4) switch
            {
                0 => bytes[..(bytes.Length / 2)],
                1 => [],
                2 => WithOneLineMore(bytes),
                _ => File.ReadAllBytes(typeof(KernelCacheTests).Assembly.Location)[..1000],
            });
            File.SetLastWriteTimeUtc(files[i], LongAgo);
        }

        Assert.Equal(plain, Draw(backend, folder.Path));
        Assert.Equal(files, FilesIn(folder));
        Assert.All(files, file => Assert.NotEqual(LongAgo, File.GetLastWriteTimeUtc(file)));
    }

    private static byte[] WithOneLineMore(byte[] packed)
    {
        using MemoryStream text = new(), target = new();
        using (var source = new BrotliStream(new MemoryStream(packed), CompressionMode.Decompress))
        {
            source.CopyTo(text);
        }

        text.WriteByte((byte)'\n');
        using (var stream = new BrotliStream(target, CompressionLevel.Fastest))
        {
            stream.Write(text.ToArray());
        }

        return target.ToArray();
    }

    /// <summary>A text that is sound as a file, and that the driver's compiler rejects.</summary>
    [Fact]
    public void A_kernel_that_the_driver_rejects_is_compiled()
    {
        if (ComputeDevice.All.FirstOrDefault(d => d.Kind == DeviceKind.OpenCl) is not { } device)
        {
            Assert.Skip("no OpenCL device");
            return;
        }

        using var folder = new TemporaryFolder();
        var cache = new KernelCache(folder.Path);
        var session = OpenDevices.Get(device);
        var accelerator = session.Accelerator;
        var entry = EntryPointDescription.FromExplicitlyGroupedKernel(((Action<ArrayView<float>>)Double).Method);
        var compiled = accelerator.GetBackend().Compile(entry, default);
        OpenClSource.FindSource(typeof(CLCompiledKernel))!.SetValue(compiled, "no OpenCL C");
        cache.Keep(accelerator, entry, default, compiled);
        Assert.Equal("no OpenCL C", ((CLCompiledKernel)cache.Find(accelerator, entry, default)!).Source);
        if (!OperatingSystem.IsWindows())
        {
            // Closed to others; and a link in its place could be theirs.
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(cache.Build));
            Directory.Move(cache.Build, folder["moved"]);
            Directory.CreateSymbolicLink(cache.Build, folder["moved"]);
            Assert.Null(cache.Find(accelerator, entry, default));
            cache.Keep(accelerator, entry, default, compiled);
            Assert.Single(Directory.GetFiles(folder["moved"]));
            Directory.Delete(cache.Build);
            Directory.Move(folder["moved"], cache.Build);
        }

        var kernel = KernelLoading.Load<Action<AcceleratorStream, KernelConfig, ArrayView<float>>>(accelerator, "double", Double, cache: cache);
        using var values = session.Upload<float>([1, 2, 3]);
        kernel(session.Stream, new KernelConfig(3, 1), values.View);
        var doubled = new float[3];
        values.View.SubView(0, 3).CopyToCPU(session.Stream, doubled);
        session.Stream.Synchronize();
        Assert.Equal([2, 4, 6], doubled);
        Assert.NotEqual("no OpenCL C", ((CLCompiledKernel)cache.Find(accelerator, entry, default)!).Source);
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public void A_folder_that_cannot_be_written_is_not_used(string backend)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["file"], "");
        Assert.Equal(Draw(backend, null), Draw(backend, folder["file"]));
        Assert.Equal(["file"], folder.Entries);
    }

    /// <summary>A kernel is a program, and the cache may lie where other users write.</summary>
    [Fact]
    public void Kernels_are_closed_to_other_users()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("no modes there");
            return;
        }

        using var folder = new TemporaryFolder();
        var build = new KernelCache(folder.Path).Build;
        Directory.CreateDirectory(build);
        File.SetUnixFileMode(build, (UnixFileMode)0x1ff);
        Assert.True(KernelCache.IsMine(build));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(build));

        // One that is not there, and one that another user made stand for a folder of this one's.
        Assert.False(KernelCache.IsMine(folder["none"]));
        Directory.CreateDirectory(folder["mine"]);
        File.SetUnixFileMode(folder["mine"], (UnixFileMode)0x1ff);
        Directory.CreateSymbolicLink(folder["link"], folder["mine"]);
        Assert.False(KernelCache.IsMine(folder["link"]));
        Assert.Equal((UnixFileMode)0x1ff, File.GetUnixFileMode(folder["mine"]));
    }

    /// <summary>What others have put into the folder stays, whatever it is.</summary>
    [Theory]
    [MemberData(nameof(Backends))]
    public void Kernels_of_old_builds_are_deleted(string backend)
    {
        using var folder = new TemporaryFolder();
        string[] builds = [.. Enumerable.Range(0, 6).Select(i => new string((char)('a' + i), 32))];
        foreach (var (i, build) in builds.Index())
        {
            var kernel = new string('0', 32);
            File.WriteAllText(Path.Combine(Directory.CreateDirectory(folder[build]).FullName, i == 1 ? "letter" : kernel), "");
            if (i == 0)
            {
                // Half a kernel, of a process that was killed.
                File.WriteAllText(Path.Combine(folder[build], $"{kernel}.{Guid.NewGuid():N}"), "");
            }

            Directory.SetLastWriteTimeUtc(folder[build], LongAgo.AddDays(i));
        }

        File.WriteAllText(Path.Combine(Directory.CreateDirectory(folder["letters"]).FullName, "letter"), "");
        Directory.SetLastWriteTimeUtc(folder["letters"], LongAgo);
        Draw(backend, folder.Path);
        var device = Backend.Find(backend).Device;
        Assert.Equal(device.Kind == DeviceKind.Cpu ? builds : [builds[1], .. builds[3..]], builds.Where(b => Directory.Exists(folder[b])));
        Assert.True(File.Exists(Path.Combine(folder[builds[1]], "letter")) && File.Exists(Path.Combine(folder["letters"], "letter")));
        Assert.Equal(device.Kind == DeviceKind.Cpu ? 7 : 6, folder.Entries.Length);
    }

    private static void Double(ArrayView<float> values) => values[Grid.IdxX] *= 2;

    private static float[] Draw(string name, string? cache)
    {
        var backend = Backend.Find(name);
        var device = BackendProfile.Open(backend.Device);
        using var run = new DemoRun(device, BackendProfile.HalfKernels(device, backend.Leaf, cache is null ? null : new KernelCache(cache)));
        return run.Sample(size: 4, steps: 2);
    }

    private static string[] FilesIn(TemporaryFolder folder) =>
        [.. Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
}
