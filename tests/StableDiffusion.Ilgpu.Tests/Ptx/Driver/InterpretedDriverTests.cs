using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>Where the driver is stricter than it would have to be, so that the library's mistakes cannot hide behind it.</summary>
public sealed unsafe class InterpretedDriverTests
{
    private const int Threads = 32;
    private const int Bytes = Threads * sizeof(uint);

    /// <summary>Adds one to each word.</summary>
    private const string Increment = ".reg .b32 value; ld.global.b32 value,[at]; add.s32 value,value,1; st.global.b32 [at],value;";

    private readonly InterpretedDriver driver = new(90);
    private readonly DriverStream stream;
    private readonly nint words;

    public InterpretedDriverTests()
    {
        stream = driver.StreamOf(0);
        words = driver.Memory.Allocate(Bytes);
        driver.Fill(words, 0, Bytes, stream);
        stream.Finish();
    }

    private static uint First(nint memory) => *(uint*)memory;

    [Fact]
    public void Work_is_done_in_its_order_when_it_is_waited_for()
    {
        var kernel = Load(Increment);
        Launch(kernel, stream);
        driver.Fill(words, 0xFF, 4, stream);
        Launch(kernel, stream);
        Assert.Equal(0u, First(words + 4));
        stream.Finish();
        Assert.Equal(0u, First(words));
        Assert.Equal(2u, First(words + 4));
    }

    /// <summary>Ordinary memory may change as soon as the call has returned, page-locked memory must not.</summary>
    [Fact]
    public void Copies_read_page_locked_memory_late_and_ordinary_memory_at_once()
    {
        var host = driver.Memory.AllocateHost(4);
        var ordinary = 1u;
        *(uint*)host = 1;
        driver.Copy(words, host, 4, stream);
        driver.Copy(words + 4, (nint)(&ordinary), 4, stream);
        (*(uint*)host, ordinary) = (2, 2);
        stream.Finish();
        Assert.Equal((2u, 1u), (First(words), First(words + 4)));

        // To ordinary memory a copy is done when the call returns.
        Launch(Load(Increment), stream);
        driver.Copy((nint)(&ordinary), words, 4, stream);
        Assert.Equal(3u, ordinary);
    }

    [Fact]
    public void Memory_begins_without_numbers_and_ends_with_its_last_byte()
    {
        Assert.Equal(uint.MaxValue, First(driver.Memory.Allocate(4)));
        Assert.Contains("lie outside of the buffers", Fails($"st.global.b32 [at+{Bytes}],tid;"));
        Assert.Contains("lie outside of the buffers", Fails("add.s64 at,at,-4; st.global.b32 [at],tid;"));
        var host = driver.Memory.AllocateHost(8);
        Assert.Contains("from byte 124 of a block of 128", Assert.Throws<PtxException>(() => driver.Copy(words + Bytes - 4, host, 8, stream)).Message);
        Assert.Throws<DriverError>(() => driver.Fill(words + Bytes, 0, 4, stream));
    }

    [Fact]
    public void Memory_that_was_freed_is_out_of_reach()
    {
        var other = driver.Memory.Allocate(Bytes);
        driver.Copy(other, words, Bytes, stream);
        Assert.True(driver.Memory.Free(words));
        Assert.Throws<PtxException>(stream.Finish);
        Launch(Load(Increment), stream);
        Assert.Throws<PtxException>(stream.Finish);
        Assert.False(driver.Memory.Free(words));
    }

    /// <summary>What comes behind a kernel that fails is not done.</summary>
    private string Fails(string body)
    {
        Launch(Load(body), stream);
        Launch(Load(Increment), stream);
        var message = Assert.Throws<PtxException>(stream.Finish).Message;
        stream.Finish();
        Assert.Equal(0u, First(words));
        return message;
    }

    [Fact]
    public void What_is_recorded_runs_when_it_is_launched_with_its_own_arguments()
    {
        var kernel = Load(Increment);
        Launch(kernel, stream);
        stream.Finish();
        var recorder = Stream();
        driver.BeginRecording(recorder);
        Launch(kernel, recorder);
        driver.Fill(words + 4, 7, 4, recorder);
        Launch(kernel, recorder);
        var graph = InterpretedDriver.EndRecording(recorder);
        recorder.Finish();
        Assert.Equal(1u, First(words));
        for (var i = 0; i < 2; i++)
        {
            graph.Launch(stream);
        }

        stream.Finish();
        Assert.Equal((5u, 0x07070708u), (First(words), First(words + 4)));
    }

    [Fact]
    public void Recording_refuses_what_waits_or_loads()
    {
        var ordinary = 1u;
        var from = (nint)(&ordinary);
        var kernel = Load(Increment);
        Refuses(_ => InterpretedDriver.RefuseWhileRecording("allocating"));
        Refuses(_ => driver.FinishAll());
        Refuses(recorder => driver.Copy(words, from, 4, recorder));
        Refuses(recorder => Launch(kernel, recorder));
        Assert.Equal(DriverStatus.CaptureUnsupported, Assert.Throws<DriverError>(() => driver.BeginRecording(stream)).Status);

        // The mistake spoils the recording, even if nobody looks at what the call answered.
        void Refuses(Action<DriverStream> mistake)
        {
            var recorder = Stream();
            driver.BeginRecording(recorder);
            Assert.Equal(DriverStatus.CaptureUnsupported, Assert.Throws<DriverError>(() => mistake(recorder)).Status);
            Assert.Equal(DriverStatus.CaptureInvalidated, Assert.Throws<DriverError>(() => InterpretedDriver.EndRecording(recorder)).Status);
        }
    }

    [Theory]
    [InlineData("sm_80", true)]
    [InlineData("sm_90", true)]
    [InlineData("sm_90a", true)]
    [InlineData("sm_100", false)]
    [InlineData("sm_80a", false)]
    public void Kernels_of_other_devices_are_refused(string target, bool runs)
    {
        var ptx = PtxText.Kernel(Increment, target);
        if (runs)
        {
            Assert.Equal(8, new DriverFunction(driver, ptx).Program.ParameterBytes);
        }
        else
        {
            Assert.Equal(DriverStatus.NoBinaryForDevice, Assert.Throws<DriverError>(() => new DriverFunction(driver, ptx)).Status);
        }
    }

    /// <summary>48 KiB for any kernel, more for those that ask, and what the device has at most.</summary>
    [Fact]
    public void Shared_memory_must_be_asked_for()
    {
        var kernel = Load(Increment);
        var parameters = BitConverter.GetBytes(words);
        kernel.Launch((1, 1, 1), (Threads, 1, 1), 48 << 10, parameters);
        Assert.Throws<DriverError>(() => kernel.Launch((1, 1, 1), (Threads, 1, 1), (48 << 10) + 16, parameters));
        kernel.AllowShared(227 << 10);
        kernel.Launch((1, 1, 1), (Threads, 1, 1), 227 << 10, parameters);
        Assert.Throws<DriverError>(() => kernel.AllowShared((227 << 10) + 16));
    }

    [Fact]
    public void Calls_need_a_context_of_their_own_thread()
    {
        Assert.Throws<DriverError>(InterpretedDriver.RequireContext);
        var context = driver.Add(new DriverContext());
        driver.Bind(context);
        InterpretedDriver.RequireContext();
        var elsewhere = DriverStatus.Success;
        var thread = new Thread(() => elsewhere = Assert.Throws<DriverError>(InterpretedDriver.RequireContext).Status);
        thread.Start();
        thread.Join();
        Assert.Equal(DriverStatus.InvalidContext, elsewhere);
        driver.Bind(0);
        driver.Remove(context);
        Assert.Throws<DriverError>(() => driver.Bind(context));
    }

    private DriverFunction Load(string body) => new(driver, PtxText.Kernel(body, "sm_90"));

    private DriverStream Stream() => driver.StreamOf(driver.AddStream(blocking: false));

    private void Launch(DriverFunction kernel, DriverStream on) =>
        InterpretedDriver.Launch(kernel, (1, 1, 1), (Threads, 1, 1), 0, on, BitConverter.GetBytes(words));
}
